"""A function with packages of its own: they are installed where it runs, not here.

    python packages.py
"""

from beta9 import Image, function

science = Image(python_packages=["numpy==2.2.6"])


@function(image=science, cpu=1, memory=1024)
def fit_line(points):
    """The straight line nearest to the points, as slope and intercept."""
    import numpy

    x, y = numpy.array(points).T
    slope, intercept = numpy.polyfit(x, y, 1)
    print(f"fitted by numpy {numpy.__version__}")
    return float(slope), float(intercept)


def main():
    points = [(x, 3 * x + 1 + (-1) ** x / 10) for x in range(100)]
    slope, intercept = fit_line.remote(points)
    print(f"y = {slope:.3f} x + {intercept:.3f}")


if __name__ == "__main__":
    main()
