-- Messages about which something was taken while the log was being caught up: their pairs, blames and ratings are still to be made.
CREATE TABLE underived (message_id VARCHAR);
