-- What each section of a policy version says, as a digest: an edit puts out of date only what rests on the sections that it touched.
CREATE TABLE policy_sections (policy_id VARCHAR, version VARCHAR, section VARCHAR, digest VARCHAR);
