-- What retrieval considered before an answer, with each stage's scores.
ALTER TABLE answers ADD COLUMN retrieval JSON;
