"""What the tests of all areas share: servers, labs, the commands as processes, migrations, writers and waits."""
