"""The steps of the commands. `controller.plan` has their order."""
