"""`imkit.doctor`: what a service does, beside what imkit assumes of it.

Nobody who wrote imkit had an account at Easemob. `docs/protocol.md` says of each fact how it is known; a check asks the
service itself. `CHECKS` is the list of all of them, in the order of the report.
"""

from imkit.service_check.run import CHECKS, doctor

__all__ = ["CHECKS", "doctor"]
