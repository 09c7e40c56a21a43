import threading
import time

from train.compare.turns import Turns


def test_nobody_waits_while_others_go_twice():
    turns = Turns(["a", "b"])
    served: dict[int, int] = dict.fromkeys(range(5), 0)
    stop = time.monotonic() + 0.5

    def client(number):
        while time.monotonic() < stop:
            worker = turns.take()
            time.sleep(0.002)
            served[number] += 1
            turns.give(worker)

    threads = [threading.Thread(target=client, args=(number,)) for number in served]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(served.values()) <= 1.5 * min(served.values()) + 2


def test_whoever_waits_for_the_longest_is_next():
    turns = Turns(["only"])
    order = []
    held = turns.take()

    def client(number):
        worker = turns.take()
        order.append(number)
        turns.give(worker)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for waiting, thread in enumerate(threads):
        thread.start()
        while len(turns._waiting) == waiting:
            time.sleep(0.001)
    turns.give(held)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4, 5]
