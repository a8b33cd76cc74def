"""Where the service listens: safe by default, and said aloud where it is not."""

from __future__ import annotations

import argparse
import socket

import pytest

from coop_site.binding import BindingRefused, binding_from, listen


def binding(environ=None, **flags):
    options = {"port": None, "host": None, "auth_token": None, "auth_token_file": None, **flags}
    return binding_from(argparse.Namespace(**options), environ or {})


def test_without_a_token_it_listens_on_loopback_and_warns_of_nothing():
    plain = binding()
    assert (plain.host, plain.port, plain.token, plain.warnings) == ("127.0.0.1", 8900, None, ())


def test_a_token_without_a_host_opens_all_interfaces_with_two_warnings():
    shared = binding(auth_token="myteam123", port=8900)
    assert (shared.host, shared.token) == ("0.0.0.0", "myteam123")
    assert "process list" in shared.warnings[0]
    assert "all interfaces" in shared.warnings[1]


def test_a_token_from_a_file_shows_nowhere(tmp_path):
    file = tmp_path / "token"
    file.write_text("myteam123\n")
    shared = binding(auth_token_file=str(file), host="127.0.0.1")
    assert (shared.token, shared.warnings) == ("myteam123", ())


def test_the_environment_counts_where_no_flag_is_given(tmp_path):
    file = tmp_path / "token"
    file.write_text("from-file")
    environ = {"COOP_PORT": "9001", "COOP_HOST": "127.0.0.2", "COOP_AUTH_TOKEN_FILE": str(file)}
    given = binding(environ)
    assert (given.port, given.host, given.token) == (9001, "127.0.0.2", "from-file")
    flagged = binding(environ, port=9002, host="127.0.0.3", auth_token="flag")
    assert (flagged.port, flagged.host, flagged.token) == (9002, "127.0.0.3", "flag")


@pytest.mark.parametrize(
    ("environ", "flags", "told"),
    [
        ({}, {"auth_token": " "}, "--auth-token is empty"),
        ({}, {"auth_token": "a", "auth_token_file": "b"}, "Leave one out"),
        ({"COOP_AUTH_TOKEN": "a", "COOP_AUTH_TOKEN_FILE": "b"}, {}, "Unset one"),
        ({}, {"auth_token_file": "/nowhere/token"}, "'/nowhere/token', which cannot be read"),
        ({"COOP_PORT": "many"}, {}, "The port is 'many'"),
        ({}, {"port": 70000}, "The port is 70000"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(environ, flags, told):
    with pytest.raises(BindingRefused, match=told):
        binding(environ, **flags)


def test_a_taken_port_is_refused_with_advice():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindingRefused, match=f"port {port} of 127.0.0.1: .*Choose another"):
            listen(binding(port=port))


def test_port_0_takes_a_free_one():
    with listen(binding(port=0)) as listener:
        assert listener.getsockname()[1] > 0


def test_the_address_for_this_machine_is_loopback_where_all_interfaces_are_open():
    assert binding(auth_token="t").url(8900) == "http://127.0.0.1:8900"
    assert binding(host="::1").url(8900) == "http://[::1]:8900"


def test_a_named_host_is_an_accepted_host():
    told = binding(host="10.1.2.3").environment(8900, {"COOP_ALLOWED_HOSTS": "gpu.example.org"})
    assert told["COOP_ALLOWED_HOSTS"] == "gpu.example.org,10.1.2.3"
    assert binding(auth_token="t").environment(8900, {})["COOP_ALLOWED_HOSTS"] == ""
