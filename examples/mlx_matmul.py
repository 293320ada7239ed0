"""A matrix product on a Mac's GPU, with MLX.

    pip install metal9
    python mlx_matmul.py

On a simulated Mac (`metal9 dev --simulate-device M3-Max`) the same program runs on the processor.
"""

from metal9 import Image, function

# Only on Linux does the extra bring anything: MLX for the processor.
mlx = Image(python_packages=["mlx[cpu]"])


@function(gpu="MPS", image=mlx, memory=2048)
def matmul(size):
    """Billions of operations a second for the product of two square matrices."""
    import time

    import mlx.core as mx

    print(f"multiplying on {mx.default_device()}")
    a, b = mx.random.normal((size, size)), mx.random.normal((size, size))
    # MLX computes when it is asked for a value, so both are made before the clock starts.
    mx.eval(a, b, a @ b)
    started = time.perf_counter()
    mx.eval(a @ b)
    return 2 * size**3 / (time.perf_counter() - started) / 1e9


def main():
    for size in (256, 1024):
        print(f"{size} x {size}: {matmul.remote(size):.0f} billion operations a second")


if __name__ == "__main__":
    main()
