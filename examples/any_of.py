"""One function for Macs and NVIDIA machines: whichever GPU is free, in order of preference.

    pip install metal9
    metal9 image check any_of.py     # the image must be right on both
    python any_of.py
"""

from metal9 import Image, apple, function

torch_image = Image(python_packages=["torch>=2.4"])


@function(gpu=["H100", "A100", apple.M4 + "Max", apple.MPS], image=torch_image, memory=8192)
def largest_singular_value(size):
    """The device that was used, and the largest singular value of a random matrix."""
    import torch

    if torch.cuda.is_available():
        device = "cuda"
    elif torch.backends.mps.is_available():
        device = "mps"
    else:
        raise RuntimeError("this worker has neither CUDA nor an Apple GPU for PyTorch")
    matrix = torch.randn(size, size, device=device)
    vector = torch.randn(size, device=device)
    # Power iteration: only products, which every GPU does well.
    for _ in range(50):
        vector = matrix.T @ (matrix @ vector)
        vector = vector / vector.norm()
    return device, (matrix @ vector).norm().item()


def main():
    size = 4096
    device, value = largest_singular_value.remote(size)
    # For such a matrix it is close to twice the root of its size.
    print(f"on {device}: {value:.1f}, expected about {2 * size**0.5:.1f}")


if __name__ == "__main__":
    main()
