"""In-memory stand-ins for Kafka, vLLM and the encoder. Each passes the contract suite of the real one."""
