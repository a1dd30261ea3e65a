"""What people and machines talk to: the command line now, the service later."""
