"""Where experiments run: in line or in local processes. Knows nothing of what a job means: text in, text out.

An engine has `lanes` (jobs that run side by side) and `submit(text) -> Future[text]`; the function that turns a job's
text into an outcome's text is given once, when the engine is made.
"""

from .device import cores, pick_device
from .inline import FirstInLine, InLine
from .interface import Engine, JobFailed, WorkerDied
from .processes import Processes
from .threads import Threads

__all__ = ["Engine", "FirstInLine", "InLine", "JobFailed", "Processes", "Threads", "WorkerDied", "cores", "pick_device"]
