"""HTTP for chat frontends and feedback widgets."""
