-- By which code the views and macros were made: made anew only where that has changed, so that a full disk does not keep the ledger closed.
CREATE TABLE made_views (sha VARCHAR);
