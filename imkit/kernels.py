"""The kernels of `imkit lab`: they start without importing modules from the folder of the notebook.

Python runs `-m ipykernel_launcher` with the working directory first on the path of modules. So a file types.py beside a
notebook, of a student or of a stranger, would run instead of Python's own, and the kernel would not start.
"""

from __future__ import annotations

import sys

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

# Jupyter runs its own Python for each of these.
_THIS_PYTHON = {"python", "python3", f"python3.{sys.version_info.minor}", sys.executable}
_LAUNCHER = ["-m", "ipykernel_launcher"]
# As the launcher does, but with -P from its first step on: since Python 3.13 also `-c` imports a module of the folder.
# IPython adds the folder behind Python's own modules later, except with -P: so that is done here.
_PROGRAM = """
import sys
from ipykernel.kernelapp import IPKernelApp

class KernelApp(IPKernelApp):
    def init_path(self):
        if "" not in sys.path and not self.ignore_cwd:
            installed = (n for n, path in enumerate(sys.path) if path.endswith(("site-packages", "dist-packages")))
            sys.path.insert(next(installed, len(sys.path)), "")

KernelApp.launch_instance()
"""


class KernelSpecs(KernelSpecManager):
    """The kernels that Jupyter finds; those of this Python start without the notebook's folder.

    When they have started, they add the folder behind Python's own modules: `import mymodule` works.
    """

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return how to start a kernel."""
        found: KernelSpec = super().get_kernel_spec(kernel_name)
        if found.argv[1:3] == _LAUNCHER and found.argv[0] in _THIS_PYTHON:
            found.argv[1:3] = ["-P", "-c", _PROGRAM]
        return found
