import pytest

from batch.errors import UsageError
from batch.spec.engine_arguments import check_engine_args, command_line_words, engine_arguments
from batch.spec.engine_config import EngineValue


def test_texts_get_the_types_that_vllm_gives_them() -> None:
    typed = check_engine_args(
        "vllm",
        {
            "max-num-seqs": "256",
            "enforce_eager": "true",
            "enable_prefix_caching": "no",
            "gpu_memory_utilization": "0.9",
            "max_model_len": "4096",
            "max_num_batched_tokens": "8k",
            "dtype": "bfloat16",
            "speculative_config": '{"method": "ngram"}',
            "compilation_config.mode": "3",
            "cudagraph_capture_sizes": "1,2,4",
        },
    )

    assert typed == {
        "max_num_seqs": 256,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "gpu_memory_utilization": 0.9,
        "max_model_len": 4096,
        "max_num_batched_tokens": "8k",
        "dtype": "bfloat16",
        "speculative_config": '{"method": "ngram"}',
        "compilation_config.mode": "3",
        "cudagraph_capture_sizes": "1,2,4",
    }
    assert check_engine_args("vllm", typed) == typed


def test_typed_values_pass() -> None:
    given = {"max_num_seqs": 8, "enforce_eager": False, "mm_processor_kwargs": {"size": 1}}

    assert check_engine_args("vllm", given) == {
        "max_num_seqs": 8,
        "enforce_eager": False,
        "mm_processor_kwargs": '{"size":1}',
    }


@pytest.mark.parametrize(
    ("engine", "given", "words"),
    [
        ("vllm", {"max_num_seq": 1}, "did you mean max_num_seqs"),
        ("vllm", {"qqqqqq": 1}, "has none of this name"),
        ("vllm", {"served_model_name": "x"}, "has none of this name"),
        ("vllm", {"hf_token": "secret"}, "has none of this name"),
        ("vllm", {"max_num_seqs": "many"}, 'max_num_seqs="many": expected an integer'),
        ("vllm", {"max_num_seqs": True}, "expected an integer"),
        ("vllm", {"enforce_eager": "maybe"}, "expected true or false"),
        ("vllm", {"gpu_memory_utilization": "x"}, "expected a number"),
        ("vllm", {"max_model_len": "long"}, "expected an integer, or one as 8k"),
        ("vllm", {"dtype": "int3"}, "expected auto or bfloat16"),
        ("vllm", {"speculative_config": "x"}, "expected a JSON object"),
        ("vllm", {"max_num_seqs.x": "1"}, "has none of this name"),
        ("vllm", {"max-num-seqs": 1, "max_num_seqs": 2}, "given twice"),
        ("vllm", {"cudagraph_capture_sizes": "1,two"}, "or several with commas"),
        ("vllm", {"tensor_parallel_size": 0}, "tensor_parallel_size=0: expected an integer of at least 1"),
        ("vllm", {"max_num_seqs": -1}, "an integer of at least 1"),
        ("vllm", {"tool_call_parser": "hermess"}, "did you mean hermes?"),
        ("vllm", {"reasoning_parser": "none"}, "expected cohere_command3 or "),
        ("vllm", {"quantization": "awqq"}, "did you mean awq?"),
        ("vllm", {"chat_template": "./nowhere.jinja"}, "expected the path of a file that is here"),
        ("vllm", {"chat_template": "x" * 5000}, "expected the path of a file that is here"),
        ("vllm", {"tool_parser_plugin": "./nowhere.py"}, "expected the path of a file that is here"),
        ("echo", {"gpus": -1}, "an integer of at least 0"),
        ("openai", {}, "base_url"),
        ("openai", {"base_url": "http://x", "concurrency": 0}, "an integer of at least 1"),
        ("echo", {"delay_s": -1}, "a number of at least 0"),
        ("tgi", {}, "engine 'tgi': expected vllm, openai, echo"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_starts(engine: str, given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_engine_args(engine, given)

    assert words in str(raised.value)


def test_the_other_engines_have_their_own() -> None:
    given = {"base_url": "http://x/v1", "api_key_env": "KEY", "concurrency": "8", "timeout_s": "60"}

    assert check_engine_args("openai", given) == {
        "base_url": "http://x/v1",
        "api_key_env": "KEY",
        "concurrency": 8,
        "timeout_s": 60.0,
    }
    assert check_engine_args("echo", {"delay_s": "0.5"}) == {"delay_s": 0.5}


def test_names_that_a_plugin_brings_and_templates_that_are_written_out_pass() -> None:
    given = {"tool_call_parser": "mine", "tool-parser-plugin": __file__, "chat_template": "{{ messages }}"}

    assert check_engine_args("vllm", given) == {
        "tool_call_parser": "mine",
        "tool_parser_plugin": __file__,
        "chat_template": "{{ messages }}",
    }


def test_vllm_reads_the_arguments_as_words() -> None:
    arguments: dict[str, EngineValue] = {
        "max_num_seqs": 8,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "disable_log_stats": False,
        "cudagraph_capture_sizes": "1,2",
        "compilation_config.mode": "3",
    }

    words = """--max-num-seqs 8 --enforce-eager --no-enable-prefix-caching --cudagraph-capture-sizes 1 2
        --compilation-config.mode 3"""
    assert command_line_words(arguments) == words.split()


def test_the_table_of_vllm_is_whole() -> None:
    known = engine_arguments("vllm")

    assert len(known) > 200
    assert known["max_num_seqs"].kind == "int"
    assert known["max_num_seqs"].help
    assert known["dtype"].choices[0] == "auto"
    assert known["cudagraph_capture_sizes"].many
    assert known["disable_log_stats"].one_way
    assert {argument.kind for argument in known.values()} == {
        "flag",
        "int",
        "float",
        "size",
        "str",
        "json",
        "choice",
        "file",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"base_url": "http://user:hunter2@host/v1"}, "password before '@'"),
        ({"base_url": "https://hunter2@host/v1"}, "password before '@'"),
        ({"base_url": "ftp://user:hunter2@host/v1"}, "expected http://HOST"),
        ({"base_url": "http:/user:hunter2@host/v1"}, "expected http://HOST"),
        ({"base_url": "http://host/v1?key=hunter2"}, "a query or fragment"),
        ({"base_url": "http://host/v1#hunter2"}, "a query or fragment"),
        ({"base_url": "http://host/v1", "api_key_env": "sk-hunter2"}, "the name of a variable, not the key"),
        ({"base_url": "host:8000/v1"}, 'base_url="host:8000/v1": expected http://HOST'),
        ({"base_url": "http://"}, "expected http://HOST"),
        ({"base_url": "http://host/v1\n"}, "expected http://HOST"),
    ],
)
def test_an_address_with_a_secret_or_that_is_none_is_refused_and_secrets_are_not_told(
    given: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as raised:
        check_engine_args("openai", given)

    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("base_url", ["http://localhost:8000/v1", "HTTPS://[::1]:8000", "https://host/a@b/v1/"])
def test_an_address_of_an_endpoint_passes(base_url: str) -> None:
    assert check_engine_args("openai", {"base_url": base_url}) == {"base_url": base_url}
