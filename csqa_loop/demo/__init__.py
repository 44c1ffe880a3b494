"""The demo: plays the customers and agents of a scenario in front of running services, and reports what the services made of it."""
