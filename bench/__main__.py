"""`make bench`: what a payment costs in time, beside the floor."""

from bench.latency import main

if __name__ == "__main__":
    main()
