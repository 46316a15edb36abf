"""Inputs by URI: what their URIs say, and files fetched from a real S3 server that has a bad day."""

import os

import pytest
from flaky_s3 import Fault, FlakyS3
from hypothesis import given
from hypothesis import strategies as st

from extraction.errors import JobError
from storage.files import Store
from storage.retry import Patience
from storage.stores import ScratchError, Stores, fetch, is_denied, is_remote, location_of, uri_of

HASTY = Patience(total_s=2.0, first_pause_s=0.05)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(NAMES)
def test_a_location_comes_back_from_its_uri(name):
    location = f"s3://bucket/a/{name}/b"
    assert location_of(uri_of(location)) == location
    assert uri_of(location).isascii()


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("s3://bucket/in/", "s3://bucket/in"),
        ("s3://KEY:SECRET@bucket/my%20clips?region=x&scheme=http", "s3://bucket/my clips"),
        ("s3://bucket/my clips", "s3://bucket/my clips"),
        ("hdfs://name:8020/in", "hdfs://name:8020/in"),
        ("gs://bucket", "gs://bucket"),
    ],
)
def test_a_location_holds_no_credentials(uri, location):
    assert location_of(uri) == location


def test_what_is_remote():
    assert [is_remote(place) for place in ("s3://b/c", "az://c", "file:///a", "/a", "a:b", "")] == [
        *(True, True, False, False, False, False)
    ]


def test_a_bucket_is_opened_as_the_given_uri_says(s3_uri):
    stores = Stores(s3_uri)
    folder = location_of(s3_uri)
    store, name = stores.of(f"{folder}/odd name?#%")
    store.write(name, b"1")
    assert Store(s3_uri).read("odd name?#%") == b"1"
    assert stores.of(folder)[0] is store


def test_a_fetch_that_is_cut_off_begins_again(moto, tmp_path):
    data = os.urandom(300_000)
    with FlakyS3(moto) as s3:
        store, name = Stores(f"s3://bucket/x?{s3.query}", HASTY).of("s3://bucket/cut/a")
        store.write(name, data)
        cut = s3.add(Fault("cut", times=2, method="GET"))
        busy = s3.add(Fault("error", times=2, method="HEAD"))
        assert fetch(store, name, str(tmp_path / "a")) == len(data)
        assert (cut.hits, busy.hits) == (2, 2)
    assert (tmp_path / "a").read_bytes() == data


def test_whose_fault_it_is(moto, tmp_path):
    with FlakyS3(moto) as s3:
        store, name = Stores(f"s3://bucket/x?{s3.query}", HASTY).of("s3://bucket/fault/a")
        store.write(name, b"1")
        with pytest.raises(FileNotFoundError):
            fetch(store, "fault/none", str(tmp_path / "a"))
        with pytest.raises(ScratchError):
            fetch(store, name, str(tmp_path / "no folder" / "a"))
        s3.add(Fault("error", status=403, code="AccessDenied", path="fault"))
        with pytest.raises(JobError) as denied:
            fetch(store, name, str(tmp_path / "a"))
        s3.heal()
        s3.add(Fault("error"))
        with pytest.raises(JobError) as dead:
            fetch(store, name, str(tmp_path / "a"))
        assert (is_denied(denied.value), is_denied(dead.value)) == (True, False)


def test_a_scheme_that_only_fsspec_knows(tmp_path):
    pytest.importorskip("fsspec").filesystem("memory").pipe(
        {"/bucket/in/a.png": b"12", "/bucket/in/b/c": b""}
    )
    store, name = Stores().of("memory://bucket/in")
    assert {path: info.is_file for path, info in store.infos(name)} == {"a.png": True, "b": False}
    assert fetch(store, f"{name}/a.png", str(tmp_path / "a.png")) == 2


@pytest.mark.parametrize("failures", [2, 3])
def test_a_read_that_breaks_off_is_the_stores_fault(failures, tmp_path):
    """Of stores whose errors are not S3's: tried again, and then told of the store, not of this machine."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    left = [failures]

    class Breaking(MemoryFileSystem):
        protocol = "breaking"

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(path.replace("breaking://", "memory://"))

        def _open(self, path, *arguments, **options):
            file = super()._open(path, *arguments, **options)
            file.read = self._broken(file.read)
            return file

        def _broken(self, read):
            def broken(length=-1):
                if left[0]:
                    left[0] -= 1
                    raise OSError("Google Cloud returned: connection reset")
                return read(length)

            return broken

    fsspec.register_implementation("breaking", Breaking, clobber=True)
    Breaking().pipe({"/bucket/in/a": b"12"})
    store, name = Stores().of("breaking://bucket/in/a")
    if failures < 3:
        assert fetch(store, name, str(tmp_path / "a")) == 2
        assert (tmp_path / "a").read_bytes() == b"12"
        return
    with pytest.raises(
        JobError, match=r"^breaking://.*: cannot be read: Google Cloud .*tried 3 times"
    ) as caught:
        fetch(store, name, str(tmp_path / "a"))
    assert not is_denied(caught.value)


@pytest.mark.parametrize("scheme", ["nosuchscheme", "az"])
def test_a_scheme_that_nothing_here_knows(scheme):
    with pytest.raises(JobError, match=f"{scheme}://bucket.*fsspec"):
        Stores().of(f"{scheme}://bucket/in")
