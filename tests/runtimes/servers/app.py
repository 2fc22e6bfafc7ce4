"""A request is in flight when there is a file "in-flight", and is answered once there is a file "gate"."""

import os
import time


def application(environ, start_response):
    open("in-flight", "w").close()
    while not os.path.exists("gate"):
        time.sleep(0.002)
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
