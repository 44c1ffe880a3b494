-- Derived as pairs are: why a rated answer or a demonstration is not trained on. One that nothing is against has no row.
CREATE TABLE held_examples (event_id UUID, message_id VARCHAR, held VARCHAR[]);
