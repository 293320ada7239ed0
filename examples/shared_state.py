"""A map and a queue between calls: who finds what first.

    python shared_state.py
"""

from beta9 import Map, Queue, function


@function(cpu=0.1)
def search(worker):
    """Takes numbers out of the queue until there are none, and keeps the primes."""
    queue, primes = Queue(name="candidates"), Map(name="primes")
    looked_at = 0
    while (number := queue.pop()) is not None:
        looked_at += 1
        if number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            primes.set(str(number), worker, ttl=600)
    return looked_at


def main():
    queue = Queue(name="candidates")
    for number in range(2, 40):
        queue.put(number)
    shares = list(search.map(range(3)))
    print(f"38 numbers, and no two looked at one: {sum(shares)} looks")
    primes = Map(name="primes")
    print("primes:", *sorted(int(key) for key in primes))


if __name__ == "__main__":
    main()
