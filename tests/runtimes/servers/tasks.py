"""One task, sent when the worker is ready. It is done once there is a file "gate"."""

import os
import time

from celery import Celery
from celery.signals import worker_ready

app = Celery("tasks", broker="redis+socket://" + os.path.abspath("broker"))
app.conf.broker_connection_retry_on_startup = True


# Written by file descriptor, because celery replaces sys.stdout.
@app.task
def slow():
    os.write(1, b"task started\n")
    while not os.path.exists("gate"):
        time.sleep(0.002)
    os.write(1, b"task done\n")


@worker_ready.connect
def send(**_):
    slow.delay()
