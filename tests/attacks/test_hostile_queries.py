"""A query of a stranger: `Archive.sql` reads the archive's own files, and writes nothing."""

import _thread
import hashlib
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive
from imkit.errors import ArchiveError, IMError
from tests.archive.conftest import fill
from tests.waits import eventually

SECRET = "do not read this"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queries")
    fill(folder / "archive", 4)
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.csv").write_text(f"text\n{SECRET}\n")
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


WRITES = [
    "copy (select 1) to '{file}' (format parquet, use_tmp_file false)",
    "copy (select 1) to '{folder}/out.csv'",
    "explain analyze copy (select 1) to '{file}' (format parquet, use_tmp_file false)",
    "explain analyze copy (select 1) to '{folder}/out.csv'",
    "explain (analyze) copy (select 1) to '{folder}/out.csv'",
    "/* */ explain analyze copy (select 1) to '{folder}/out.csv'",
    "explain /* */ analyze copy (select 1) to '{folder}/out.csv'",
    "explain analyze select 1; copy (select 1) to '{folder}/out.csv'",
    "with x as (copy (select 1) to '{file}' (format parquet, use_tmp_file false)) select * from x",
    "explain analyze with x as (copy (select 1) to '{file}' (use_tmp_file false)) select * from x",
    "with y as (with x as (copy (select 1) to '{file}' (use_tmp_file false)) from x) select * from y",
    "select * from query('with x as (copy (select 1) to ''{file}'' (use_tmp_file false)) from x')",
    "from json_execute_serialized_sql(json_serialize_sql("
    "'with x as (copy (select 1) to ''{file}'' (use_tmp_file false)) select * from x'))",
    "call json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "pragma json_execute_serialized_sql('{{}}')",
    "select * from enable_logging('QueryLog', storage = 'file', storage_path = '{folder}/logs')",
    "call enable_logging('QueryLog', storage = 'file', storage_path = '{folder}/logs')",
    "select * from enable_profiling(save_location = '{folder}/profile.json')",
    "attach '{folder}/new.db'",
    "export database '{folder}/exported'",
    "pragma profiling_output = '{folder}/profile.json'",
    "with x as (insert into t values (1) returning *) select * from x",
    "create table t as select 1",
]
READS = [
    "select * from read_text('{folder}/secret.txt')",
    "select * from read_csv('{folder}/secret.csv')",
    "select * from '{folder}/secret.csv'",
    "from '{folder}/secret.csv'",
    "with x as (from '{folder}/secret.csv') from x",
    "select (select text from '{folder}/secret.csv')",
    "describe from '{folder}/secret.csv'",
    "summarize '{folder}/secret.csv'",
    "explain analyze select * from '{folder}/secret.csv'",
    "select * from glob('{folder}/*')",
    "select * from read_blob('{folder}/secret.txt')",
    "select * from sniff_csv('{folder}/secret.csv')",
    "select * from query_table('{folder}/secret.csv')",
    "select getenv('HOME')",
    "select * from read_parquet('http://127.0.0.1:9/x.parquet')",
    "select * from 'http://127.0.0.1:9/x.parquet'",
    "select * from 's3://bucket/x.parquet'",
    "select * from sqlite_scan('{folder}/secret.txt', 'x')",
    "copy t from '{folder}/secret.csv'",
    "import database '{folder}'",
]
OPENS = [
    "install httpfs",
    "load httpfs",
    "load '{folder}/secret.txt'",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "set allowed_paths = ['{folder}/secret.txt']",
    "reset enable_external_access",
    "select * from pandas_scan(1)",
    "select * from arrow_scan(1, 2, 3)",
    "select * from python_map_function(1)",
    "prepare p as select 1",
    "execute p",
    "use memory",
]


@pytest.mark.parametrize("query", [*WRITES, *READS, *OPENS])
def test_a_query_reads_no_other_file_and_writes_none(place: Path, query: str) -> None:
    archive = Archive(place / "archive")
    before = digests(place)
    query = query.format(file=archive.files()[0], folder=place)
    with pytest.raises(IMError) as caught:
        archive.sql(query)
    assert SECRET not in str(caught.value)
    assert digests(place) == before
    assert list(Path.cwd().glob(".imkit-sql-*")) == []


def test_the_archive_s_own_queries_still_work(place: Path) -> None:
    archive = Archive(place / "archive")
    for query in (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3) select i from n",
        "with a as materialized (from messages) select count(*) from a union all select 1",
        "select * from range(3), unnest([1, 2]), generate_series(1, 2)",
        "select j.* from all_messages m, json_each(m.ext) j",
        "select ext ->> '$.n' as n, row_number() over (partition by sender order by time) from messages",
        "explain select * from messages",
        "EXPLAIN ANALYZE\nselect * from messages where sender = ?",
        "explain (format json) select * from messages",
        "describe messages",
        "summarize messages",
        "show tables",
        "from messages select distinct on (sender) sender, text order by all",
        "select a.sender from messages a join versions b using (message_id) where a.day > '2026-01-01'",
        "values (1), (2)",
        "select * exclude (payload), columns('edit.*') from versions",
    ):
        archive.sql(query, ["user1"] if "?" in query else None)
    assert archive.sql("select current_setting('enable_external_access') as open").open.tolist() == [False]


def test_a_trusted_query_may_do_more(place: Path, tmp_path: Path) -> None:
    archive = Archive(place / "archive")
    copied = tmp_path / "copied.csv"
    archive.sql(f"copy (select text from messages) to '{copied}'", external_access=True)
    assert len(copied.read_text().splitlines()) == 5
    joined = archive.sql(f"select count(*) as n from messages semi join '{copied}' using (text)", external_access=True)
    assert joined.n.tolist() == [4]
    with pytest.raises(ArchiveError, match="nothing"):
        archive.sql(f"from '{tmp_path}/nothing.csv'", external_access=True)


class Unreadable(list[object]):
    def __iter__(self) -> Iterator[object]:
        raise RuntimeError("cannot be read")


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (5, None),
        (None, None),
        ("\ud800", None),
        ("select ?", [object()]),
        ("select ?", 5),
        ("select $a", {"b": 1}),
        ("select ?", ["\ud800"]),  # a RuntimeError of DuckDB 1
        ("select ?", Unreadable([1])),
    ],
)
def test_a_wrong_query_or_parameter_is_an_error_of_imkit(place: Path, query: object, parameters: object) -> None:
    with pytest.raises(imkit.InvalidMessage):
        Archive(place / "archive").sql(query, parameters)


@pytest.mark.parametrize(
    "query",
    [
        "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n",
        "select count(*) from range(10000000000) a, range(1000000000) b where hash(a.range) + hash(b.range) = 7",
        "select * from range(100000000000)",
    ],
)
def test_the_stop_button_ends_a_query_that_never_ends(place: Path, query: str) -> None:
    def interrupt() -> None:
        eventually(lambda: any(thread.name == "imkit-sql" for thread in threading.enumerate()))
        _thread.interrupt_main()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            Archive(place / "archive").sql(query)
    finally:
        interrupting.join()
    assert eventually(lambda: not any(thread.name == "imkit-sql" for thread in threading.enumerate()))
    assert Archive(place / "archive").sql("select 1 as one").one.tolist() == [1]


def test_a_traceback_shows_no_text_of_a_message_as_it_is(place: Path) -> None:
    with pytest.raises(imkit.InvalidMessage, match="Could not convert") as caught:
        Archive(place / "archive").sql("select ('tea' || chr(27) || '[2J')::int from messages")
    assert "\x1b" not in "".join(traceback.format_exception(caught.value))
