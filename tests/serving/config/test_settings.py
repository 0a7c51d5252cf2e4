"""Configuration: what a stranger gets wrong is named with its file, key and remedy, before anything starts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment
from typer.testing import CliRunner

from serving.cli import models as cli_models
from serving.cluster.manifest import engine_application
from serving.config import addresses
from serving.config.credentials import Secrets
from serving.config.load import ConfigError, ModelSpec, Settings, load_settings
from serving.config.reference import reference
from serving.supervisor.processes import environment

REPOSITORY = Path(__file__).resolve().parents[3]
Edit = Callable[[str, str, str], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a copy of the repository's configuration."""
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    return tmp_path


@pytest.fixture
def edit(root: Path) -> Edit:
    """Return a function that replaces text in one file of the copy, and insists that it was there."""

    def replace(name: str, old: str, new: str) -> None:
        file = root / "configs" / name
        text = file.read_text()
        assert old in text, f"{name} no longer holds {old!r}"
        file.write_text(text.replace(old, new, 1))

    return replace


def load(root: Path, **environ: str) -> Settings:
    """Load the copy with an environment of nothing but `environ`."""
    return load_settings(root, environ)


def error(root: Path, **environ: str) -> str:
    """Return the message of the ConfigError that loading raises."""
    with pytest.raises(ConfigError) as caught:
        load_settings(root, environ)
    return str(caught.value)


def test_shipped_configuration_loads_under_both_profiles(root: Path) -> None:
    """What is checked in is valid, and the small Llama is the default."""
    for profile in ("cpu", "gpu"):
        settings = load(root, BONDHU_PROFILE=profile)
        assert settings.profile == profile
        assert [spec.id for spec in settings.served()] == ["smollm2-135m-instruct"]
    assert settings.var_dir == root / "var"
    assert settings.models.alias == "bondhu"


def test_every_large_model_can_be_activated_on_a_gpu_and_not_on_the_cpu(root: Path) -> None:
    """A GPU-only model is refused under the cpu profile with what it can run under."""
    for model in load(root).catalogue:
        if not model.startswith(("bondhu", "smollm2")):
            environ = {"BONDHU__MODELS__ACTIVE": model}
            assert load(root, BONDHU_PROFILE="gpu", **environ).served()[0].requires.gpu_memory_gib
            message = error(root, BONDHU_PROFILE="cpu", **environ)
            assert message == (
                f"BONDHU__MODELS__ACTIVE: models.active: `{model}` does not run under profile cpu, only under gpu"
            )


def test_unknown_key_in_the_service_file_names_the_nearest(root: Path, edit: Edit) -> None:
    """A typo in bondhu.yaml is answered with file, key path and the valid name."""
    edit("bondhu.yaml", "workers:", "worker_count:")
    assert error(root) == "configs/bondhu.yaml: gateway.worker_count: unknown key; did you mean `workers`?"


def test_unknown_key_in_a_profile_names_the_profile(root: Path, edit: Edit) -> None:
    """The overlay is blamed for its own typo, not the file below it."""
    edit("profiles/cpu.yaml", "object_store_mb", "object_store")
    assert error(root).startswith("configs/profiles/cpu.yaml: ray.object_store: unknown key; did you mean")


def test_unknown_key_in_a_model_file_names_the_nearest(root: Path, edit: Edit) -> None:
    """The model file's own keys are checked at every depth."""
    edit("models/bondhu-demo.yaml", "startup_timeout_s", "startup_timeout")
    expected = "configs/models/bondhu-demo.yaml: deployment.startup_timeout: unknown key"
    assert error(root) == expected + "; did you mean `startup_timeout_s`?"


def test_unknown_engine_argument_names_the_nearest(root: Path, edit: Edit) -> None:
    """A misspelt vLLM argument never reaches vLLM."""
    edit("models/bondhu-demo.yaml", "max_model_len", "max_modle_len")
    expected = "configs/models/bondhu-demo.yaml: engine.max_modle_len: vLLM has no such argument"
    assert error(root) == expected + "; did you mean `max_model_len`?"


def test_wrong_type_says_what_was_given(root: Path, edit: Edit) -> None:
    """A value of the wrong type is shown beside what is accepted."""
    edit("bondhu.yaml", "port: 8000", "port: eighty")
    message = error(root)
    assert message.startswith("configs/bondhu.yaml: gateway.port: ")
    assert "valid integer" in message
    assert "'eighty'" in message


def test_wrong_choice_lists_the_choices(root: Path, edit: Edit) -> None:
    """A profile that does not exist is answered with those that do."""
    edit("bondhu.yaml", "profile: cpu", "profile: tpu")
    message = error(root)
    assert message.startswith("configs/bondhu.yaml: profile: ")
    assert "'cpu' or 'gpu'" in message


def test_environment_wins_over_profile_and_file(root: Path) -> None:
    """BONDHU__SECTION__KEY overrides both files; lists may be JSON."""
    settings = load(
        root,
        BONDHU__GATEWAY__PORT="8100",
        BONDHU__RAY__OBJECT_STORE_MB="256",
        BONDHU__MODELS__ALSO='["bondhu-demo-bf16"]',
        BONDHU__WORKER__ENABLED="false",
    )
    assert (settings.gateway.port, settings.ray.object_store_mb) == (8100, 256)
    assert (settings.models.also, settings.worker.enabled) == (("bondhu-demo-bf16",), False)


def test_wrong_value_in_the_environment_names_the_variable(root: Path) -> None:
    """The variable is blamed, not the file it overrides."""
    assert error(root, BONDHU__GATEWAY__PORT="99999").startswith("BONDHU__GATEWAY__PORT: gateway.port: ")


@pytest.mark.parametrize("name", ["BONDHU__GATEWAY__PROT", "BONDHU_GATEWAY__PORT", "BONDHU__GATWAY__PORT"])
def test_misspelt_variable_is_an_error(root: Path, name: str) -> None:
    """An override of an unknown setting is not ignored."""
    expected = f"{name}: unknown setting; did you mean `BONDHU__GATEWAY__PORT`?"
    assert error(root, **{name: "8100"}) == expected


def test_a_key_of_a_former_version_is_answered_with_its_name_of_now(root: Path, edit: Edit) -> None:
    """In a file and in the environment; where the section never had it, nothing is claimed."""
    edit("bondhu.yaml", "gateway:\n", "cache:\n  most_answers: 5\ngateway:\n  most_answers: 5\n")
    message = error(root, BONDHU__ADMISSION__JOB_PATIENCE_S="5")
    assert "configs/bondhu.yaml: cache.most_answers: unknown key; it was renamed to `max_answers`" in message
    assert (
        "BONDHU__ADMISSION__JOB_PATIENCE_S: unknown setting; it was renamed to `BONDHU__ADMISSION__JOB_MAX_WAIT_S`"
        in message
    )
    assert "gateway.most_answers: unknown key; it was renamed" not in message


def test_unknown_active_model_names_the_nearest(root: Path) -> None:
    """A model that has no file is answered with the nearest that has one."""
    expected = "BONDHU__MODELS__ACTIVE: models.active: there is no model `bondhu-dmo` in configs/models/"
    assert error(root, BONDHU__MODELS__ACTIVE="bondhu-dmo") == expected + "; did you mean `bondhu-demo`?"


def test_model_file_must_be_named_after_its_id(root: Path) -> None:
    """A copied file whose id was not changed is noticed."""
    models = root / "configs/models"
    shutil.copy(models / "bondhu-demo.yaml", models / "mine.yaml")
    assert error(root) == "configs/models/mine.yaml: id: `bondhu-demo` must equal the file name `mine`"


def test_repeated_key_is_an_error(root: Path, edit: Edit) -> None:
    """YAML's silent overwrite is not silent here."""
    edit("models/bondhu-demo.yaml", "  dtype: bfloat16", "  dtype: bfloat16\n  dtype: float32")
    message = error(root)
    assert message.startswith("configs/models/bondhu-demo.yaml: line ")
    assert "duplicate key `dtype`" in message


def test_same_model_twice_is_an_error(root: Path) -> None:
    """The active model cannot also be served beside itself."""
    assert "`smollm2-135m-instruct` is served twice" in error(root, BONDHU__MODELS__ALSO='["smollm2-135m-instruct"]')


def test_two_listeners_on_one_port_is_an_error(root: Path) -> None:
    """A clash of ports is found before either process starts."""
    assert "port 8001 is already used by gateway.port" in error(root, BONDHU__GATEWAY__PORT="8001")


def test_every_problem_is_reported_at_once(root: Path, edit: Edit) -> None:
    """One run of `check` is enough to find all mistakes."""
    edit("bondhu.yaml", "port: 8000", "port: eighty")
    edit("profiles/cpu.yaml", "object_store_mb", "objects")
    edit("models/bondhu-demo.yaml", "max_num_seqs: 64", "max_num_seqs: many")
    edit("models/bondhu-demo-bf16.yaml", "tool_call_parser: hermes", "tool_call_parser: hermse")
    assert len(error(root, BONDHU__NOTHING__AT="all").splitlines()) == 5


def test_secrets_in_files_are_refused(root: Path, edit: Edit) -> None:
    """Passwords and tokens come from the environment; a file with one does not load."""
    with (root / "configs/bondhu.yaml").open("a") as file:
        file.write("database:\n  url: postgresql+asyncpg://bondhu:hunter2@db/bondhu\n")
    edit("models/bondhu-demo.yaml", "env:\n", "env:\n  HF_TOKEN: hf_abc\n")
    edit("models/bondhu-demo-bf16.yaml", "server:\n", "server:\n  api_key: [abc]\n")
    message = error(root)
    assert "database.url: contains a password; set BONDHU__DATABASE__URL in the environment instead" in message
    assert "env.HF_TOKEN: secrets must not be in a file" in message
    assert "server.api_key: cannot be set" in message
    assert "hunter2" not in message
    assert "hf_abc" not in message


def test_password_in_the_environment_is_accepted(root: Path) -> None:
    """The same address is fine where it is not committed."""
    url = "postgresql+asyncpg://bondhu:hunter2@db/bondhu"
    assert load(root, BONDHU__DATABASE__URL=url).database.url == url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_database_url_is_taken_as_hosts_give_it(root: Path, scheme: str) -> None:
    """DATABASE_URL goes over the files, gets the driver that is used here, and yields to the longer name."""
    with (root / "configs/bondhu.yaml").open("a") as file:
        file.write("database:\n  url: sqlite+aiosqlite:///mine.db\n")
    environ = {"DATABASE_URL": f"{scheme}://bondhu:hunter2@pooler:6543/postgres"}
    assert load(root, **environ).database.url == "postgresql+asyncpg://bondhu:hunter2@pooler:6543/postgres"
    other = "sqlite+aiosqlite:///other.db"
    assert load(root, **environ, BONDHU__DATABASE__URL=other).database.url == other


def test_database_url_with_what_cannot_be_done_is_refused(root: Path) -> None:
    """The message names the variable and the parameter, and holds no password."""
    url = "postgresql://bondhu:hunter2@pooler:6543/postgres?sslmode=require&channel_binding=require"
    with pytest.raises(ConfigError) as refused:
        load(root, DATABASE_URL=url)
    assert "DATABASE_URL: database.url: unknown parameter `channel_binding`; accepted: " in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_missing_and_broken_files_are_named(root: Path) -> None:
    """Broken YAML is located by line, a missing profile by name."""
    (root / "configs/profiles/cpu.yaml").unlink()
    (root / "configs/models/bondhu-demo.yaml").write_text("id: [unclosed\n")
    message = error(root)
    assert "configs/profiles/cpu.yaml: cannot be read: No such file" in message
    assert "configs/models/bondhu-demo.yaml: line " in message
    assert "no model" not in message


def test_fingerprint_changes_only_with_what_needs_a_restart(root: Path) -> None:
    """Scaling and description reconfigure; arguments, environment and resources restart."""
    values = yaml.safe_load((root / "configs/models/bondhu-demo.yaml").read_text())

    def fingerprint(**changes: object) -> str:
        return ModelSpec.model_validate(values | changes).fingerprint()

    original = fingerprint()
    assert original == load(root).catalogue["bondhu-demo"].fingerprint()
    assert len(original) == 8
    reordered = dict(reversed(values["engine"].items()))
    deployment = values["deployment"]
    assert {
        fingerprint(engine=reordered),
        fingerprint(description="another"),
        fingerprint(deployment=deployment | {"replicas": 3}),
        fingerprint(deployment=deployment | {"autoscaling": {"max_replicas": 4}}),
    } == {original}
    different = {
        fingerprint(path="models/other"),
        fingerprint(revision="main"),
        fingerprint(quantization="another label"),  # a replica tells it to clients
        fingerprint(engine=values["engine"] | {"seed": 1}),
        fingerprint(server={}),
        fingerprint(sampling={"temperature": 0.2}),
        fingerprint(env={}),
        fingerprint(deployment=deployment | {"num_gpus": 1}),
    }
    assert len(different - {original}) == 8


def test_loading_imports_nothing_heavy() -> None:
    """The command line and the gateway load settings without torch, vLLM or Ray."""
    code = (
        "import sys; from serving.config.load import load_settings; load_settings();"
        "print([m for m in ('torch', 'vllm', 'ray', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_models_check_exits_2_and_says_where_in_json(root: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script sees exit code 2 and the problems as data; a person sees the same lines."""
    monkeypatch.setenv("BONDHU_ROOT", str(root))
    edit("models/bondhu-demo.yaml", "enforce_eager", "enforce_eagre")
    result = CliRunner().invoke(cli_models.app, ["check", "--json"])
    assert result.exit_code == 2
    problem = json.loads(result.stdout)["problems"][0]
    assert (problem["where"], problem["key"]) == ("configs/models/bondhu-demo.yaml", "engine.enforce_eagre")
    assert "did you mean `enforce_eager`?" in CliRunner().invoke(cli_models.app, ["list"]).output


def test_models_check_finds_missing_weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local model whose directory is not there is reported; a hub id is not looked up."""
    monkeypatch.setenv("BONDHU_ROOT", str(root))
    missing = CliRunner().invoke(cli_models.app, ["check", "bondhu-demo"])
    assert missing.exit_code == 2
    assert "is not a complete model" in missing.output
    assert CliRunner().invoke(cli_models.app, ["check", "llama-3.1-8b-instruct-awq"]).exit_code == 0


def test_models_show_prints_the_command_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What will be passed to vLLM can be read before it is."""
    monkeypatch.setenv("BONDHU_ROOT", str(root))
    result = CliRunner().invoke(cli_models.app, ["show", "llama-3.1-8b-instruct-nf4", "--json"])
    shown = json.loads(result.stdout)
    assert "--quantization=bitsandbytes" in shown["arguments"]
    assert f"--chat-template={root}/configs/templates/llama3.1_json.jinja" in shown["arguments"]
    listed = json.loads(CliRunner().invoke(cli_models.app, ["list", "--json"]).stdout)
    assert [row["id"] for row in listed if row["served"] == "active"] == ["smollm2-135m-instruct"]


def test_the_sampling_of_a_model_file_reaches_both_engines(root: Path, edit: Edit) -> None:
    """VLLM takes it as its own argument; what the file states there wins."""
    edit(
        "models/smollm2-135m-instruct.yaml",
        "engine:\n",
        "engine:\n  override_generation_config: {top_p: 0.5}\n",
    )
    settings = load(root)
    vllm, llama_cpp = (
        engine_application(settings, settings.catalogue[name])["args"]["arguments"]
        for name in ("smollm2-135m-instruct", "smollm2-135m-instruct-gguf")
    )
    (taken,) = (each for each in vllm if each.startswith("--override-generation-config="))
    assert json.loads(taken.partition("=")[2]) == {"temperature": 0.5, "top_p": 0.5}
    assert '--sampling={"temperature": 0.5, "top_p": 0.9}' in llama_cpp


@pytest.mark.parametrize("trim", [False, True])
def test_llama_template_puts_tools_and_their_results_where_the_model_expects_them(trim: bool) -> None:
    """A conversation with a call and its result renders in the Llama 3.1 format, ending at the assistant's turn."""
    # A prompt is not HTML; transformers trims and strips blocks, other readers may not.
    environment = Environment(autoescape=False, trim_blocks=trim, lstrip_blocks=trim)
    template = environment.from_string((REPOSITORY / "configs/templates/llama3.1_json.jinja").read_text())
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Pune"}'}}
    prompt = template.render(
        bos_token="<|begin_of_text|>",
        date_string="01 Jan 2026",
        add_generation_prompt=True,
        tools=[{"type": "function", "function": {"name": "weather", "parameters": {}}}],
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Rain in Pune?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "dry"},
        ],
    )
    assert prompt.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\n")
    assert "Be kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nRain in Pune?<|eot_id|>" in prompt
    assert '\n\n{"name": "weather", "parameters": {"city": "Pune"}}<|eot_id|>' in prompt
    assert prompt.endswith(
        "<|start_header_id|>ipython<|end_header_id|>\n\ndry<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_tiers_are_laid_over_by_name(root: Path) -> None:
    """The shipped limits; a variable changes one number and adds a tier, and the others stay."""
    tiers = load(root).tiers
    assert all(tier.tokens_per_minute and tier.tokens_per_day for name, tier in tiers.items() if name != "admin")
    assert [name for name, tier in tiers.items() if tier.allow] == ["admin"]
    assert {name: tier.requests_per_minute for name, tier in tiers.items()} == {
        "free": 50,
        "standard": 100,
        "premium": 200,
        "admin": None,
    }
    more = {"free": {"tokens_per_day": 1000}, "gold": {"user_requests_per_minute": 5}}
    tiers = load(root, BONDHU__TIERS=json.dumps(more)).tiers
    assert (tiers["free"].requests_per_minute, tiers["free"].tokens_per_day) == (50, 1000)
    assert tiers["gold"].user_requests_per_minute == 5
    assert len(tiers) == 5


def test_a_mistake_in_a_tier_is_named(root: Path, edit: Edit) -> None:
    """An unknown limit with the nearest one, a limit of nothing, a tier with an impossible name."""
    edit("bondhu.yaml", "requests_per_minute: 50", "request_per_minute: 50")
    edit("bondhu.yaml", "requests_per_minute: 100", "requests_per_minute: 0")
    edit("bondhu.yaml", "  admin: ", "  Chief Admin: ")
    message = error(root)
    assert "tiers.free.request_per_minute: unknown key; did you mean `requests_per_minute`?" in message
    assert "tiers.standard.requests_per_minute" in message
    assert "Chief Admin" in message


def test_reference_lists_every_key() -> None:
    """docs/configuration.md holds the table that the schema generates (`python -m serving.config.reference`)."""
    assert reference() in (REPOSITORY / "docs/configuration.md").read_text()


def test_the_demonstration_models_label_is_what_its_weights_are() -> None:
    """The quantisation that replies name is the one in the checkpoint's own configuration."""
    spec = load_settings(REPOSITORY, {}).catalogue["bondhu-demo"]
    (group,) = json.loads((REPOSITORY / spec.path / "config.json").read_text())["quantization_config"][
        "config_groups"
    ].values()
    activations = group["input_activations"]
    assert spec.quantization == f"W{group['weights']['num_bits']}A{activations['num_bits'] if activations else 16}"


def test_every_process_of_a_stack_finds_the_same_sockets(root: Path) -> None:
    """What `bondhu up` gives its processes leads them to the directories that it has itself, whatever their TMPDIR."""
    environ = {"BONDHU_ROOT": str(root), "PATH": os.environ["PATH"]}
    settings = load_settings(environ=environ)
    secrets = Secrets(cluster_key="c", ray_token="t", scrape_token="s")
    below = load_settings(environ=environment(settings, secrets, environ))
    assert (below.runtime_dir, below.var_dir) == (settings.runtime_dir, settings.var_dir)
    assert addresses.redis_url(below) == addresses.redis_url(settings)


def test_the_model_that_agents_ask_is_served(root: Path) -> None:
    """One that is not is named, with the nearest that is; the small models say that they do not choose."""
    message = error(root, BONDHU__MODELS__ACTIVE="bondhu-demo", BONDHU__AGENTS__MODEL="bondu-demo")
    assert message == "BONDHU__AGENTS__MODEL: agents.model: `bondu-demo` is not served; did you mean `bondhu-demo`?"
    settings = load(root, BONDHU__MODELS__ACTIVE="bondhu-demo", BONDHU__AGENTS__MODEL="bondhu-demo")
    assert not settings.catalogue["bondhu-demo"].chooses
    assert not settings.catalogue["smollm2-135m-instruct"].chooses
    assert settings.catalogue["llama-3.1-8b-instruct-fp8"].chooses


def test_the_guard_model_is_served(root: Path) -> None:
    """One that no engine serves is named with the remedy, an alias and an external model too, and so is a format."""
    active, guard = {"BONDHU__MODELS__ACTIVE": "bondhu-demo"}, "BONDHU__SAFETY__GUARD__MODEL"
    form = {"BONDHU__SAFETY__GUARD__FORMAT": "qwen3guard"}
    message = error(root, **active, **form, **{guard: "bondhu-demo-bf16"})
    assert message == (
        f"{guard}: safety.guard.model: `bondhu-demo-bf16` is not served: a guard has to be models.active or one of "
        "models.also; add it there; did you mean `bondhu-demo`?"
    )
    for name in ("bondhu", "gemini", "nothing"):
        assert f"safety.guard.model: `{name}` is not served" in error(root, **active, **form, **{guard: name})
    assert load(root, **active, **form, **{guard: "bondhu-demo"}).safety.guard is not None
    also = {"BONDHU__MODELS__ALSO": '["bondhu-demo-bf16"]'}
    assert load(root, **active, **also, **form, **{guard: "bondhu-demo-bf16"}).safety.guard is not None
    message = error(root, **active, **{guard: "bondhu-demo", "BONDHU__SAFETY__GUARD__FORMAT": "llama_guard"})
    assert "safety.guard.format" in message
    assert "granite_guardian" in message
