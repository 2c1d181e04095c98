"""`make crash`: kill commits at every system call, then let many processes contend; verify what is left."""

import sys

from tests.crash.shards.contention import many_commits
from tests.crash.shards.kill import every_system_call

code = every_system_call()
many_commits()
sys.exit(code)
