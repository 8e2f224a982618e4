"""Tiny archives in the published formats, and a loopback server to fetch them from."""

import contextlib
import gzip
import hashlib
import http.server
import io
import tarfile
import threading
import time

import numpy as np

from jaxal.data.downloading import Download

CIFAR10 = "cifar-10-binary.tar.gz"
CIFAR100 = "cifar-100-binary.tar.gz"
CLASSES10 = [f"class {c}" for c in "abcdefghij"]


def smooth_images(rng, num, height, width, channels):
    return rng.integers(0, 256, (num, height, width, channels), np.uint8)


def tar_gz(members):
    """A `.tar.gz` of name -> bytes, or name -> TarInfo for odd members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def cifar_rows(labels, images):
    """Label bytes, then the red, green and blue planes: the published layout."""
    rows = []
    for label, image in zip(labels, images, strict=True):
        planes = [image[:, :, channel].tobytes() for channel in range(3)]
        rows.append(bytes(np.atleast_1d(label).tolist()) + b"".join(planes))
    return b"".join(rows)


def cifar10(seed=0, per_file=12, extra=None):
    """(archive, train images, train labels, test images, test labels)."""
    rng = np.random.default_rng(seed)
    images = smooth_images(rng, 6 * per_file, 32, 32, 3)
    labels = np.arange(6 * per_file) % 10
    folder = "cifar-10-batches-bin"
    members = {f"{folder}/batches.meta.txt": ("\n".join(CLASSES10) + "\n\n").encode()}
    for i in range(6):
        rows = slice(i * per_file, (i + 1) * per_file)
        name = f"data_batch_{i + 1}.bin" if i < 5 else "test_batch.bin"
        members[f"{folder}/{name}"] = cifar_rows(labels[rows], images[rows])
    cut = 5 * per_file
    archive = tar_gz({**members, **(extra or {})})
    return archive, images[:cut], labels[:cut], images[cut:], labels[cut:]


def cifar100(seed=0):
    rng = np.random.default_rng(seed)
    images = smooth_images(rng, 30, 32, 32, 3)
    coarse, fine = rng.integers(0, 20, 30), rng.integers(0, 100, 30)
    both = np.stack([coarse, fine], 1)
    folder = "cifar-100-binary"
    archive = tar_gz(
        {
            f"{folder}/train.bin": cifar_rows(both[:20], images[:20]),
            f"{folder}/test.bin": cifar_rows(both[20:], images[20:]),
            f"{folder}/coarse_label_names.txt": b"\n".join(
                b"coarse%d" % c for c in range(20)
            ),
            f"{folder}/fine_label_names.txt": b"\n".join(
                b"fine%d" % c for c in range(100)
            ),
        }
    )
    return archive, images, coarse, fine


def idx(array):
    header = bytes([0, 0, 8, array.ndim])
    header += b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def mnist(seed=0, num=30):
    """(files by name, images [N, 28, 28], labels), a third of it test."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, (num, 28, 28)), np.arange(num) % 10
    cut = 2 * num // 3
    files = {
        "train-images-idx3-ubyte.gz": idx(images[:cut]),
        "train-labels-idx1-ubyte.gz": idx(labels[:cut]),
        "t10k-images-idx3-ubyte.gz": idx(images[cut:]),
        "t10k-labels-idx1-ubyte.gz": idx(labels[cut:]),
    }
    return files, images, labels


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `cut` breaks transfers off, `delay` waits before answering.

    `drip` seconds pass before each byte.
    """

    files: dict = {}
    cut = None
    delay = drip = 0.0
    hits = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802, the name http.server calls
        self.server.hits += 1
        time.sleep(self.server.delay)
        body = self.server.files.get(self.path.lstrip("/"))
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: self.server.cut]
        size = 1 if self.server.drip else max(len(body), 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for start in range(0, len(body), size):
                time.sleep(self.server.drip)
                self.wfile.write(body[start : start + size])

    def log_message(self, *args):
        del args


@contextlib.contextmanager
def serving(files):
    server = Server(("127.0.0.1", 0), _Handler)
    server.files = files
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def download(server, name, **changes):
    """What TFDS registers of a published file, for a file of `server`."""
    body = server.files[name]
    port = server.server_address[1]
    sha256 = hashlib.sha256(body).hexdigest()
    whole = Download(f"http://127.0.0.1:{port}/{name}", len(body), sha256, name)
    return whole._replace(**changes)
