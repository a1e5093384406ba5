"""The checks of the doctor, a module for each subject. `imkit.service_check.run.CHECKS` has them in their order."""
