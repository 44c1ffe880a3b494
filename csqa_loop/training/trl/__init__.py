"""Training a LoRA with trl and peft, which nothing else imports. `run.train` is the way in; its modules load torch."""
