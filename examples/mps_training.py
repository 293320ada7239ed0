"""Training a small net on a Mac's GPU, with PyTorch.

    pip install metal9
    python mps_training.py

It learns which of two spirals a point of the plane lies on. A worker without an Apple GPU trains on its
processor, and says so.
"""

from metal9 import Image, function

torch_image = Image(python_packages=["torch>=2.4"])


@function(gpu="MPS", image=torch_image, memory=4096)
def train(epochs):
    """The share of points that the trained net puts on the right spiral."""
    import torch

    torch.manual_seed(0)
    device = best_device()
    points, labels = spirals(1000)
    points, labels = points.to(device), labels.to(device)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 64),
        torch.nn.Tanh(),
        torch.nn.Linear(64, 64),
        torch.nn.Tanh(),
        torch.nn.Linear(64, 2),
    ).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    loss_of = torch.nn.CrossEntropyLoss()
    for epoch in range(1, epochs + 1):
        optimizer.zero_grad()
        loss = loss_of(net(points), labels)
        loss.backward()
        optimizer.step()
        if epoch % 50 == 0:
            print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
    right = net(points).argmax(dim=1) == labels
    return right.float().mean().item()


def best_device():
    """The Apple GPU, or the processor with a word about why."""
    import torch

    if torch.backends.mps.is_available():
        print("training on the Apple GPU")
        return torch.device("mps")
    if torch.backends.mps.is_built():
        why = "PyTorch sees no Apple GPU"
    else:
        why = "PyTorch is built without MPS, which only its packages for macOS have"
    print(f"training on the processor: {why}")
    return torch.device("cpu")


def spirals(count):
    """Points on two spirals that wind around each other, and which of the two each is on."""
    import torch

    turn = torch.rand(count) * 3 * torch.pi + 0.5
    labels = torch.arange(count) % 2
    angle = turn + labels * torch.pi
    return torch.stack([turn * torch.cos(angle), turn * torch.sin(angle)], dim=1) / 10, labels


def main():
    share = train.remote(300)
    print(f"{share:.1%} of the points are on the right spiral")


if __name__ == "__main__":
    main()
