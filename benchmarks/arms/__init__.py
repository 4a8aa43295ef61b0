"""Who answers the requests: each arm is a command run as a process of its own, and the reader of what it left."""
