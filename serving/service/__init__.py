"""The processes of the service, and the application that the web process serves."""
