"""Questions put to a history frame: one module for each, and `imkit.insight.accessor` gathers them as ``frame.im``."""
