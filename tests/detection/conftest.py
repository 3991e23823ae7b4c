import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small are slower on two threads, and their sums depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
