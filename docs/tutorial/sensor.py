"""A device that tells rest, walking and running apart, and learns it in the field: python sensor.py NAME BROKER.

Its sensor is played back: windows of 32 accelerations along 3 axes. Its wearer mostly does one thing, so the device
learns the others from its neighbours. It says after every round how good it is, may be killed and started again at any
time, and leaves NAME.onnx when it is interrupted.
"""

import signal
import sys
import threading

import numpy as np

from edge import Node

ACTIVITIES = ("rest", "walk", "run")
NAMES = ["anna", "ben", "cleo"]
interrupted = threading.Event()


def window(random, activity):
    """Play back one window of the sensor."""
    time = np.arange(32) / 16 + random.random()
    pace, force = {"rest": (0.0, 0.0), "walk": (1.0, 0.7), "run": (2.5, 1.5)}[activity]
    swing = force * np.sin(2 * np.pi * pace * time + np.arange(3)[:, None])
    return swing + 0.3 * random.standard_normal((3, 32))


def main(name, broker):
    """Observe, predict and learn until somebody interrupts."""
    random = np.random.default_rng()
    habits = np.roll([0.8, 0.1, 0.1], NAMES.index(name))
    exam = [activity for activity in ACTIVITIES for _ in range(30)]
    exam_windows = np.array([window(random, activity) for activity in exam])
    node = Node(
        id=name,
        peers=NAMES,
        topology="complete",
        broker=broker,
        bundle="activity-bundle",
        reference="npz:reference.npz",
        checkpoint=f"state-{name}",
        round_timeout=2,
        settings={"learning_rate": 0.05},
    )
    learnt = threading.Event()
    node.on_round(lambda _: learnt.set())
    with node:
        while not interrupted.wait(0.05):  # twenty windows a second
            activity = random.choice(ACTIVITIES, p=habits)
            (number,) = node.observe(window(random, activity))
            node.label(number, activity)  # the wearer pressed a button
            if learnt.is_set():
                learnt.clear()
                answers = np.array(ACTIVITIES)[node.predict(exam_windows).argmax(axis=1)]
                print(f"{name} {np.mean(answers == exam):.2f}", flush=True)
    node.save(f"{name}.onnx")


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    if sys.argv[1:2] == ["reference"]:
        drawn = np.random.default_rng(0)
        np.savez("reference.npz", x=np.float32([window(drawn, a) for a in ACTIVITIES for _ in range(20)]))
    else:
        main(*sys.argv[1:])
