"""What a worker is told: `celery -A dagster_celery.app worker` finds this module on the PYTHONPATH.

A task is acknowledged when it begins and never delivered twice. A second delivery would do harm: Dagster
ignores it and its end would hide from the monitoring that the first one died. Runs of dead workers are
found by `worker_watch` and begun again by `run_retries`.
"""

import os

broker_url = os.environ["REDIS_URL"]
result_backend = os.environ["REDIS_URL"]
result_extended = True  # with the name of the worker
result_expires = 30 * 24 * 3600  # the state of a task is asked for as long as its run goes on
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # wait for Redis for ever
broker_transport_options = {"visibility_timeout": 3600, "socket_keepalive": True}

task_acks_late = False
task_track_started = True
worker_disable_prefetch = True  # a worker that is busy takes nothing that another one could begin
worker_prefetch_multiplier = 1
worker_max_tasks_per_child = 200
worker_proc_alive_timeout = 60
