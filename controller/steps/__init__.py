"""What a command does, one local thing per step. `controller.plan` puts them in order."""
