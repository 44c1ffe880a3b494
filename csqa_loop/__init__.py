"""csqa_loop: event-driven continuous learning for customer-service question answering."""

__version__ = "0.1.0"
