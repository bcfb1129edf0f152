"""What `tests.mutate` breaks, and which tests should notice.

Only what would go wrong in silence is here: wrong removals, lost errors, secrets that leak.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """A line that is lost.

    Attributes:
        name: what is lost with it.
        file: path in the checkout.
        text: as it stands there, once.
        becomes: what stands there instead.
        tests: arguments of pytest's, separated by blanks; at least one of the tests fails.
    """

    name: str
    file: str
    text: str
    becomes: str
    tests: str


_PACKAGE = "agent_roles_dagster/"
_SAIL = _PACKAGE + "engines/sail.py"
_DOOR = _PACKAGE + "engines/door.py"
_TASKS = _PACKAGE + "engines/tasks.py"
_EMBEDDED = _PACKAGE + "postgres/embedded/server.py"
_GUARD = _PACKAGE + "staging/guard.py"
_SETTINGS = _PACKAGE + "settings.py"
_LANDING = _PACKAGE + "landing/find.py"
_ARRIVAL = _PACKAGE + "landing/arrival.py"
_SENSORS = _PACKAGE + "orchestration/sensors/landed_days.py"
_NOTICES = _PACKAGE + "orchestration/sensors/notices.py"
_NEWS = _PACKAGE + "orchestration/notices/news.py"
_SENTENCES = _PACKAGE + "orchestration/notices/sentences.py"
_WEBHOOK = _PACKAGE + "orchestration/notices/webhook.py"
_STAGING = _PACKAGE + "staging/stage.py"
_TRANSFORM = _PACKAGE + "staging/transform.py"
_MAPPING = _PACKAGE + "mapping/apply.py"
_CHECKS = _PACKAGE + "orchestration/checks/rules.py"
_CHECK_SPECS = _PACKAGE + "orchestration/checks/specs.py"
_UPSERT = "sql/mapping/012_upsert_agent_roles.sql"
_ROLES = "sql/schema/015_roles.sql"
_PUBLISH_ERRORS = "sql/load/021_publish_errors.sql"
_PUBLISH_DAY = "sql/load/022_publish_day.sql"
_PRUNE = "sql/mapping/prune_snapshots.sql"
_TAKE_BACK = "sql/admin/take_back_newest_day.sql"
_SCHEMA = "sql/schema/010_schema.sql"

_IN_STAGING = "tests/staging/test_staging.py::"
_IN_NOTICES = "tests/orchestration/test_notices.py::"
_IN_SENSORS = "tests/orchestration/test_sensors.py::"
_IN_CHECKS = "tests/orchestration/test_checks.py::"
_IN_EMBEDDED = "tests/postgres/test_embedded_postgres.py::"
_IN_RECIPES = "tests/test_recipes.py::"
_IN_SAIL = "tests/engines/test_sail.py::"
_ON_SPARK = (
    "tests/engines/test_java.py::test_apache_spark_says_nothing_and_keeps_its_settings_to_itself"
)
_IN_MAPPING = "tests/mapping/test_mapping.py::"

_NOBODY_REACHES = _IN_EMBEDDED + "test_no_other_account_and_no_network_reaches_the_server"
_SOCKET_FOLDER = (
    _IN_EMBEDDED + "test_a_socket_folder_that_is_there_is_used"
    "_if_nobody_else_can_have_put_a_server_there"
)
_AS_MANY = _IN_STAGING + "test_as_many_snapshots_are_kept_as_are_set"
_KEPT = _IN_STAGING + "test_only_the_newest_snapshots_are_kept_if_so_set_and_nothing_else_is_lost"
_BACKFILL = (
    _IN_STAGING
    + "test_a_backfill_in_any_order_keeps_what_landed_days_are_going_to_be_compared_with"
)
_WHILE_IT_STAGES = (
    _IN_STAGING + "test_nothing_that_a_run_may_be_comparing_with_goes_while_it_stages"
)
_CORRECTED = _IN_STAGING + "test_a_correction_keeps_removals_takes_them_back_and_adds_some"
_MENDED = _IN_STAGING + "test_the_same_dump_again_mends_what_somebody_changed"
_TAKEN_BACK = (
    _IN_RECIPES + "test_a_day_is_taken_back_as_if_never_staged_and_the_database_moves_and_goes_on"
)
_DAMAGED_DAY = _IN_CHECKS + "test_a_damaged_staged_day_fails_its_check_and_is_not_applied"
_DAMAGED_MAPPING = _IN_CHECKS + "test_a_damaged_mapping_fails_its_check"
_QUESTIONS = _IN_STAGING + "test_two_questions_are_answered_by_sync_day"
_FINGERPRINTS = (
    "tests/landing/test_arrival.py::"
    "test_any_other_content_is_another_fingerprint_and_the_same_is_not"
)
_LISTED = (
    "tests/landing/test_arrival.py::"
    "test_a_manifest_says_that_all_is_there_only_if_it_lists_files_and_is_no_older"
)
_TOLD_ONCE = _IN_NOTICES + "test_a_failed_run_is_told_with_its_sentence_and_only_once"
_SECRETS = "tests/orchestration/test_secrets.py"
_SHOWN_SETTINGS = "tests/test_settings.py::test_no_secret_is_shown_with_the_settings"
_ACCEPTED = (
    _IN_STAGING + "test_a_reason_is_kept_where_it_was_needed_and_a_blank_one_accepts_nothing"
)
_LOST = _IN_STAGING + "test_what_is_lost_on_the_way_is_noticed_before_it_is_published"


def _case(*names: str) -> str:
    stories = (f"tests/test_cases.py::test_a_case_ends_with_its_tables[{name}]" for name in names)
    return " ".join(stories)


MUTATIONS = (
    # The embedded server.
    Mutation(
        "the short socket folder is closed to other accounts",
        _PACKAGE + "postgres/embedded/account.py",
        "folder.mkdir(mode=0o700)",
        "folder.mkdir(); folder.chmod(0o755)",
        _NOBODY_REACHES,
    ),
    Mutation(
        "the embedded server does not listen to the network",
        _EMBEDDED,
        """f"-h '' -p""",
        """f"-h localhost -p""",
        _NOBODY_REACHES,
    ),
    Mutation(
        "a socket folder of another account is refused",
        _EMBEDDED,
        "status.st_uid != owner or ",
        "",
        _SOCKET_FOLDER,
    ),
    Mutation(
        "a socket folder that is open, or a link, is refused",
        _EMBEDDED,
        " or status.st_mode != stat.S_IFDIR | 0o700",
        "",
        _SOCKET_FOLDER,
    ),
    Mutation(
        "a link is not followed to a socket folder",
        _EMBEDDED,
        "short.lstat()",
        "short.stat()",
        _SOCKET_FOLDER,
    ),
    Mutation(
        "the server starts a second time in its socket folder",
        _EMBEDDED,
        "owner = account.uid if account else os.geteuid()",
        "owner = -1",
        _SOCKET_FOLDER,
    ),
    Mutation(
        "the server's log quotes no row",
        _EMBEDDED,
        '    "--set=log_error_verbosity=terse",\n',
        "",
        f"{_SECRETS}::test_what_runs_write_has_no_secret_in_it",
    ),
    # Retries.
    Mutation(
        "what was lost is asked for three times more",
        _PACKAGE + "orchestration/retries.py",
        "RETRIES = 3",
        "RETRIES = 2",
        "tests/orchestration/test_retries.py -k three_times_more",
    ),
    Mutation(
        "retries are twenty seconds apart",
        _PACKAGE + "orchestration/retries.py",
        "SECONDS = 20.0",
        "SECONDS = 2.0",
        "tests/orchestration/test_retries.py -k three_times_more",
    ),
    Mutation(
        "a server that refuses is not asked again",
        _PACKAGE + "orchestration/retries.py",
        " and not isinstance(error, Refused)",
        "",
        "tests/orchestration/test_retries.py::test_a_server_that_refuses_is_not_asked_again",
    ),
    # The sensors.
    Mutation(
        "the landing sensor goes on where it was",
        _SENSORS,
        "reversed(found.looked_at) if day in in_turn",
        "reversed(found.looked_at) if False",
        _IN_SENSORS + "test_the_old_days_are_looked_into_in_turn",
    ),
    Mutation(
        "a landing folder that is gone for a moment takes no day with it",
        _SENSORS,
        "registered.difference(days) if days else set()",
        "registered.difference(days)",
        _IN_SENSORS + "test_a_landing_folder_that_is_gone_for_a_moment_takes_no_day_with_it",
    ),
    Mutation(
        "the landing sensor ends in time",
        _SENSORS,
        "if time.monotonic() > until:",
        "if False:",
        _IN_SENSORS + "test_a_look_that_takes_too_long_goes_on_at_the_next_tick",
    ),
    Mutation(
        "the sensor of notices ends in time",
        _NOTICES,
        "if time.monotonic() > until:\n                break",
        "if False:\n                break",
        _IN_NOTICES + "test_what_takes_too_long_to_tell_goes_on_at_the_next_tick",
    ),
    Mutation(
        "both sensors end within Dagster's minute",
        _NOTICES,
        "_SECONDS = 30",
        "_SECONDS = 50",
        f"{_IN_NOTICES}test_a_tick_whose_last_notice_nobody_takes_ends_before_dagster_ends_it",
    ),
    Mutation(
        "a day that was run stays registered without its folder",
        _SENSORS,
        "        gone -= instance.get_materialized_partitions(raw_roles.key)\n",
        "        pass\n",
        _IN_SENSORS + "test_a_day_whose_folder_is_gone_is_offered_no_more_unless_it_was_run",
    ),
    Mutation(
        "days are told of in the order of their numbers",
        _PACKAGE + "landing/days.py",
        "sorted(filter(is_sync_day, names), key=day_number)",
        "sorted(filter(is_sync_day, names))",
        "tests/landing/test_days.py::test_landed_days_are_the_folders_with_a_days_name_in_their_order",
    ),
    # Arrival.
    Mutation(
        "a file of another size is another dump",
        _ARRIVAL,
        "{name!r} {entry.get('size')} {etag or modified}",
        "{name!r} {etag or modified}",
        _FINGERPRINTS,
    ),
    Mutation(
        "a file of another time is another dump",
        _ARRIVAL,
        "{name!r} {entry.get('size')} {etag or modified}",
        "{name!r} {entry.get('size')}",
        _FINGERPRINTS,
    ),
    Mutation(
        "a file of another name is another dump",
        _ARRIVAL,
        "{name!r} {entry.get('size')} {etag or modified}",
        "{entry.get('size')} {etag or modified}",
        _FINGERPRINTS,
    ),
    Mutation(
        "another manifest is another dump",
        _ARRIVAL,
        "if name == MANIFEST or not name",
        "if not name",
        _FINGERPRINTS,
    ),
    Mutation(
        "a day waits for the files that its manifest lists",
        _ARRIVAL,
        "names and names <= entries.keys()",
        "names",
        _LISTED,
    ),
    Mutation(
        "a day waits while files come after its manifest",
        _ARRIVAL,
        "changed[name] <= changed[MANIFEST]",
        "True",
        _LISTED,
    ),
    # Notices.
    Mutation(
        "a webhook that never answers is given up",
        _WEBHOOK,
        "open(request, timeout=_PATIENCE)",
        "open(request)",
        _IN_NOTICES + "test_a_webhook_that_never_answers_is_given_up",
    ),
    Mutation(
        "a webhook is given up within Dagster's minute",
        _WEBHOOK,
        "_PATIENCE = 10",
        "_PATIENCE = 60",
        f"{_IN_NOTICES}test_a_tick_whose_last_notice_nobody_takes_ends_before_dagster_ends_it",
    ),
    Mutation(
        "a notice has a length that chat services take",
        _WEBHOOK,
        "MOST = 3000",
        "MOST = 30_000",
        _IN_NOTICES + "test_a_long_notice_is_cut_to_what_chat_services_take",
    ),
    Mutation(
        "the same failure is told once",
        _NEWS,
        "        lines = [line for line in lines if line not in known]\n",
        "",
        _TOLD_ONCE,
    ),
    Mutation(
        "a failure is told again once the day landed again",
        _NEWS,
        "    return bool(instance.fetch_materializations(landed, limit=1).records)\n",
        "    return False\n",
        _TOLD_ONCE,
    ),
    Mutation(
        "a load tells of each refused day once",
        _NEWS,
        "            return _new_of_load(instance, lines, known, before)\n",
        "            return lines\n",
        _IN_NOTICES + "test_a_load_tells_of_each_refused_day_once_with_its_sentence",
    ),
    Mutation(
        "of a long notice only the longest line is cut",
        _WEBHOOK,
        "lines.index(max(lines, key=len))",
        "len(lines) - 1",
        _IN_NOTICES + "test_a_long_notice_is_cut_to_what_chat_services_take",
    ),
    Mutation(
        "what gets too long for one notice goes on in the next",
        _NEWS,
        "            if ids and not fits_one_post(",
        "            if not ids and not fits_one_post(",
        _IN_NOTICES + "test_of_many_runs_with_different_sentences_each_is_posted_whole",
    ),
    Mutation(
        "of an error that is not ours the text is not told",
        _SENTENCES,
        "(data.error and _cause(data.error).cls_name)",
        "(data.error and _cause(data.error).message)",
        _IN_NOTICES
        + "test_of_an_error_that_is_not_ours_only_the_kind_is_told_and_of_ours_the_sentence",
    ),
    Mutation(
        "a notice that was not taken is kept",
        _NOTICES,
        "        if not reported:\n            raise\n",
        "",
        _IN_NOTICES + "test_what_the_webhook_does_not_take_is_kept_and_its_address_is_not_said",
    ),
    # The guard.
    Mutation(
        "a day without records is held",
        _GUARD,
        "records == 0 and previous > 0",
        "records == 0 and previous > 1",
        "tests/staging/test_guard.py",
    ),
    Mutation(
        "a first day without records is not held",
        _GUARD,
        "records == 0 and previous > 0",
        "records == 0 and previous >= 0",
        "tests/staging/test_guard.py",
    ),
    Mutation(
        "a day without assignments is held from the limit on",
        _GUARD,
        "previous >= limits.min_previous",
        "previous > limits.min_previous",
        "tests/staging/test_guard.py",
    ),
    Mutation(
        "removals are held from the limit on",
        _GUARD,
        "removals >= limits.min_removals",
        "removals > limits.min_removals",
        "tests/staging/test_guard.py",
    ),
    Mutation(
        "exactly the allowed share is not held",
        _GUARD,
        "removals > most",
        "removals >= most",
        "tests/staging/test_guard.py",
    ),
    Mutation(
        "the share is exact",
        _GUARD,
        "Decimal(str(limits.max_removed_share)) * previous",
        "limits.max_removed_share * previous",
        "tests/staging/test_guard.py",
    ),
    *(
        Mutation(
            f"the guard's default {name}", _SETTINGS, text, becomes, "tests/staging/test_guard.py"
        )
        for name, text, becomes in (
            ("min_previous", "min_previous: int = 10", "min_previous: int = 11"),
            ("min_removals", "min_removals: int = 100", "min_removals: int = 101"),
            ("share", "max_removed_share: float = 0.20", "max_removed_share: float = 0.2001"),
        )
    ),
    Mutation(
        "an implausible day is held",
        _PACKAGE + "staging/publish.py",
        "if reason and not run.accept_removals:",
        "if False:",
        _IN_STAGING + "test_a_held_day_says_why_and_leaves_only_its_errors",
    ),
    Mutation(
        "a held day is not staged",
        _PACKAGE + "staging/publish.py",
        "    if held is None:\n        following",
        "    if True:\n        following",
        _IN_STAGING + "test_a_held_day_says_why_and_leaves_only_its_errors",
    ),
    Mutation(
        "a held day's errors are recorded",
        _PACKAGE + "staging/publish.py",
        '    run_file(connection, "load/021_publish_errors")\n',
        "",
        _IN_STAGING + "test_a_held_day_says_why_and_leaves_only_its_errors",
    ),
    Mutation(
        "a plausible day has no reason on record",
        _PACKAGE + "staging/publish.py",
        "run.accept_removals if is_accepted else None",
        "run.accept_removals",
        _ACCEPTED,
    ),
    Mutation(
        "a blank reason accepts nothing",
        _PACKAGE + "orchestration/acceptance.py",
        '(self.accept_removals or "").strip() or None',
        "self.accept_removals",
        _ACCEPTED,
    ),
    # Reading a dump.
    Mutation(
        "a file that the manifest names is there",
        _LANDING,
        "if missing := sorted(listed.keys() - entries.keys()):",
        "if missing := sorted(set()):",
        "tests/landing/test_find.py::test_the_manifests_files_must_all_be_there_once",
    ),
    Mutation(
        "a file has the digest that the manifest says",
        _PACKAGE + "landing/seal.py",
        "if expected is not None and expected.lower() != digest:",
        "if False:",
        "tests/landing/test_seal.py::test_the_seal_refuses_a_file_whose_digest_is_another",
    ),
    Mutation(
        "staging alone compares the digests",
        _PACKAGE + "staging/verify.py",
        "    check_digests(dump, digests)\n",
        "",
        _IN_STAGING + "test_staging_alone_compares_the_files_with_the_manifest",
    ),
    Mutation(
        "staging compares the numbers of records",
        _PACKAGE + "staging/verify.py",
        'if "records" in entry and',
        'if False and "records" in entry and',
        _IN_STAGING + "test_records_that_the_manifest_counts_differently_are_not_staged",
    ),
    Mutation(
        "a dump that changed since it was sealed is not staged",
        _PACKAGE + "staging/verify.py",
        "if sealed is not None and digest != sealed:",
        "if False:",
        _IN_STAGING + "test_a_dump_that_changed_since_it_was_sealed_is_not_staged",
    ),
    Mutation(
        "a last line that breaks off makes the file unreadable",
        _PACKAGE + "reading/file.py",
        "if line.strip(BLANKS) and breaks_off(line):",
        "if False:",
        "tests/reading/test_json_lines.py::test_a_last_line_that_breaks_off_makes_the_file_unreadable",
    ),
    Mutation(
        "an envelope with two lists is no dump",
        _PACKAGE + "reading/envelopes.py",
        "if len(found) > 1:",
        "if False:",
        "tests/reading/test_envelopes.py::test_json_that_is_no_dump_is_unreadable",
    ),
    Mutation(
        "an API's error message is no dump",
        _PACKAGE + "reading/envelopes.py",
        "if keys & _IDS and not keys & _ERROR_KEYS:",
        "if keys & _IDS:",
        "tests/reading/test_envelopes.py::test_an_error_message_with_the_requests_id_is_no_role",
    ),
    Mutation(
        "a file that no task could read is no empty one",
        _PACKAGE + "staging/verify.py",
        'if unreadable := loaded_notes(connection, target, "unreadable"):',
        "if unreadable := []:",
        _case("12-unreadable"),
    ),
    Mutation(
        "every file was read",
        _PACKAGE + "staging/verify.py",
        "if digests.keys() != {file.name for file in dump.files}:",
        "if False:",
        _LOST,
    ),
    Mutation(
        "every row that was read was loaded",
        _PACKAGE + "staging/verify.py",
        'if raw_rows != counts["valid_rows"] + counts["invalid_rows"]:',
        "if False:",
        _LOST,
    ),
    # The transform.
    Mutation(
        "only who was assigned the day before is removed",
        _TRANSFORM,
        "before & ~after",
        "~after",
        _case("08-newest-day-corrected"),
    ),
    Mutation(
        "who is assigned is not removed",
        _TRANSFORM,
        "before & ~after",
        "before",
        _case("02-removed-and-returned"),
    ),
    Mutation(
        "who was assigned the day before does not begin anew",
        _TRANSFORM,
        "assigned, removed = after & ~before,",
        "assigned, removed = after,",
        _case("02-removed-and-returned"),
    ),
    Mutation(
        "the status removed is no assignment",
        _TRANSFORM,
        '(status_value("status") == ASSIGNED)',
        'status_value("status").isNotNull()',
        _case("16-explicit-status"),
    ),
    Mutation(
        "a pair that is staged twice is staged anew",
        _TRANSFORM,
        '(F.col("old_rows") == 1)',
        '(F.col("old_rows") >= 1)',
        _MENDED,
    ),
    Mutation(
        "a pair that the day has no more is unstaged",
        _TRANSFORM,
        "Decision.UNSTAGE: ~is_kept & has_old",
        "Decision.UNSTAGE: is_kept & has_old",
        _case("08-newest-day-corrected"),
    ),
    Mutation(
        "a row that stays is not staged a second time",
        _TRANSFORM,
        "Decision.STAGE_ASSIGNED: ~is_kept & in_day",
        "Decision.STAGE_ASSIGNED: in_day",
        _case("07-rerun-unchanged", "08-newest-day-corrected"),
    ),
    Mutation(
        "a removal that stays is not staged a second time",
        _TRANSFORM,
        "Decision.STAGE_REMOVED: ~is_kept & removed",
        "Decision.STAGE_REMOVED: removed",
        _CORRECTED,
    ),
    Mutation(
        "a corrected assignment is on record",
        _TRANSFORM,
        "_differs(assigned, known_assigned) | ",
        "",
        _case("08-newest-day-corrected"),
    ),
    Mutation(
        "a corrected removal is on record",
        _TRANSFORM,
        " | _differs(removed, known_removed)",
        "",
        _CORRECTED,
    ),
    Mutation(
        "what a late day assigns the next day removes",
        _TRANSFORM,
        "next_loses & ~next_removed",
        "next_loses & next_removed",
        _case("09-older-day-corrected", "10-late-day"),
    ),
    Mutation(
        "what the next day removes already is not staged a second time",
        _TRANSFORM,
        "next_loses & ~next_removed",
        "next_loses",
        _IN_CHECKS + "test_a_late_day_leaves_the_next_one_sound",
    ),
    Mutation(
        "what a late day does not assign the next day does not remove",
        _TRANSFORM,
        "next_removed & ~next_loses",
        "next_removed & next_loses",
        _case("09-older-day-corrected", "10-late-day"),
    ),
    Mutation(
        "what a late day assigns does not begin with the next day",
        _TRANSFORM,
        "        in_day, next_assigned, Seen",
        "        in_previous, next_assigned, Seen",
        _case("09-older-day-corrected", "10-late-day"),
    ),
    Mutation(
        "the next day's changes on record follow a late day",
        _TRANSFORM,
        "Seen.NEXT_KNOWN_ASSIGNED, Seen.NEXT_KNOWN_REMOVED",
        "Seen.KNOWN_ASSIGNED, Seen.KNOWN_REMOVED",
        _case("09-older-day-corrected", "10-late-day"),
    ),
    # Loading and publishing.
    Mutation(
        "a task that runs twice loads its rows once",
        _PACKAGE + "staging/load.py",
        "if sum(map(len, claimed)):",
        "if True:",
        "tests/staging/test_load.py::test_tasks_that_die_after_they_committed_leave_each_row_once",
    ),
    Mutation(
        "no more tasks load at once than the setting says",
        _PACKAGE + "staging/load.py",
        "decided.coalesce(tasks)",
        "decided",
        _IN_STAGING + "test_no_more_tasks_load_at_once_than_the_setting_says",
    ),
    Mutation(
        "Spark is not reached from another machine",
        _PACKAGE + "engines/apache_spark.py",
        '        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")\n',
        "        pass\n",
        _ON_SPARK,
    ),
    Mutation(
        "a day is not compared with a snapshot that was pruned",
        _PACKAGE + "staging/neighbours.py",
        'if day is not None and day["pruned_at"] is not None:',
        "if False:",
        _KEPT,
    ),
    Mutation(
        "a day is not compared with a snapshot whose table is gone",
        _PACKAGE + "staging/neighbours.py",
        'if day is not None and not day["is_there"]:',
        "if False:",
        _IN_STAGING + "test_a_neighbour_whose_table_is_gone_is_not_taken_for_an_empty_day",
    ),
    Mutation(
        "a day is not compared with a snapshot that somebody changed",
        _PACKAGE + "staging/neighbours.py",
        'found != day["assigned"]',
        "False",
        _IN_STAGING + "test_a_day_is_not_compared_with_a_snapshot_that_somebody_changed",
    ),
    Mutation(
        "another day's errors stay",
        _PUBLISH_ERRORS,
        "WHERE sync_day = (SELECT day.sync_day FROM agent_roles_load_day AS day)\n    ) AS error",
        ") AS error",
        _case("04-invalid-records") + f" {_IN_STAGING}test_the_same_dump_again_writes_no_row",
    ),
    Mutation(
        "an earlier version's rows leave staging",
        _PUBLISH_DAY,
        "AND delta.unstage AND NOT delta.is_next;",
        "AND delta.unstage AND NOT delta.is_next AND FALSE;",
        _case("08-newest-day-corrected"),
    ),
    Mutation(
        "the next day's removals follow a late day",
        _PUBLISH_DAY,
        "WHERE delta.stage;",
        "WHERE delta.stage AND NOT delta.is_next;",
        _case("10-late-day"),
    ),
    Mutation(
        "another time of observation reaches the mapping",
        _PUBLISH_DAY,
        "        AND known.observed_at = day.observed_at\n",
        "",
        _IN_STAGING + "test_another_time_of_observation_reaches_the_mapping",
    ),
    Mutation(
        "the next day's own count of removals follows",
        _PUBLISH_DAY,
        "removed = next_day.removed + change.removals",
        "removed = next_day.removed",
        _IN_CHECKS + "test_a_late_day_leaves_the_next_one_sound",
    ),
    Mutation(
        "a corrected day waits to be applied",
        _PUBLISH_DAY,
        "staged.applied_at := NULL;",
        "staged.applied_at := known.applied_at;",
        _IN_STAGING + "test_a_day_accepted_again_has_the_newest_reason",
    ),
    # The mapping.
    Mutation(
        "who was removed and came back is assigned",
        _SCHEMA,
        " AND latest.began_no < ended.day_no;\nEND $$;",
        ";\nEND $$;",
        _case("02-removed-and-returned"),
    ),
    Mutation(
        "the mapping has the latest assignment",
        _SCHEMA,
        "max(change.day_no) FILTER (WHERE change.change = 'assigned')",
        "min(change.day_no) FILTER (WHERE change.change = 'assigned')",
        _case("02-removed-and-returned"),
    ),
    Mutation(
        "a pair of which no day says anything leaves the mapping",
        _UPSERT,
        "WHERE mapping.agent_id = gone.agent_id AND mapping.role_id = gone.role_id;",
        "WHERE FALSE;",
        _case("08-newest-day-corrected"),
    ),
    Mutation(
        "a row of the mapping that stays as it is is not written",
        _UPSERT,
        "WHERE mapping.* IS DISTINCT FROM excluded.*",
        "WHERE TRUE",
        _IN_STAGING
        + "test_pairs_that_changed_and_changed_back_before_they_were_applied_are_not_written",
    ),
    Mutation(
        "the time of applying is UTC",
        _UPSERT,
        "applied_at = now() AT TIME ZONE 'UTC'",
        "applied_at = now()",
        _IN_MAPPING + "test_times_are_utc_whatever_the_sessions_time_zone_is",
    ),
    Mutation(
        "no day is applied that breaks a rule",
        _MAPPING,
        "if broken := {name: count for name, count in facts.items() if count}:",
        "if broken := {}:",
        _DAMAGED_DAY,
    ),
    Mutation(
        "no other day that waits is applied if it breaks a rule",
        _MAPPING,
        "for day in days:",
        "for day in [sync_day]:",
        _IN_MAPPING + "test_a_day_that_waits_beside_one_that_breaks_a_rule_is_not_applied",
    ),
    # Old snapshots.
    Mutation(
        "as many snapshots are kept as set, not one",
        _PRUNE,
        "OFFSET current_setting('agent_roles.keep_days')::BIGINT",
        "OFFSET 1",
        _AS_MANY,
    ),
    Mutation(
        "as many snapshots are kept as set, not one less",
        _PRUNE,
        "OFFSET current_setting('agent_roles.keep_days')::BIGINT",
        "OFFSET current_setting('agent_roles.keep_days')::BIGINT - 1",
        _AS_MANY,
    ),
    Mutation(
        "a day that was not applied keeps its snapshot",
        _PRUNE,
        "            WHERE applied_at IS NOT NULL\n",
        "",
        f"{_IN_MAPPING}test_a_day_that_waits_to_be_applied_keeps_its_snapshot",
    ),
    Mutation(
        "the snapshot before a landed day is kept",
        _PRUNE,
        "SELECT (SELECT max(day_no) FROM staged WHERE staged.day_no < awaited.day_no)",
        "SELECT NULL",
        _BACKFILL,
    ),
    Mutation(
        "the snapshot after a landed day is kept",
        _PRUNE,
        "SELECT (SELECT min(day_no) FROM staged WHERE staged.day_no > awaited.day_no)",
        "SELECT NULL",
        f"{_BACKFILL} {_IN_STAGING}test_a_run_keeps_the_snapshots_that_it_needs_to_be_run_again",
    ),
    Mutation(
        "no snapshot is dropped while a run compares with it",
        _MAPPING,
        '"LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE NOWAIT"',
        '"SELECT 1"',
        _WHILE_IT_STAGES,
    ),
    # Taking a day back.
    Mutation(
        "no day is taken back while a run stages",
        _TAKE_BACK,
        "LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE;",
        "SELECT 1;",
        _WHILE_IT_STAGES,
    ),
    Mutation(
        "only the newest day is taken back",
        _TAKE_BACK,
        "IF newest.sync_day IS DISTINCT FROM asked THEN",
        "IF FALSE THEN",
        _TAKEN_BACK,
    ),
    Mutation(
        "a day taken back has no errors",
        _TAKE_BACK,
        "    DELETE FROM agent_role_pipeline_errors WHERE sync_day = asked;\n",
        "",
        _TAKEN_BACK,
    ),
    Mutation(
        "no day is taken back to a snapshot that was pruned",
        _TAKE_BACK,
        "IF before.pruned_at IS NOT NULL THEN",
        "IF FALSE THEN",
        f"{_IN_RECIPES}test_a_day_that_later_ones_could_not_be_compared_without_is_not_taken_back",
    ),
    # Questions.
    Mutation(
        "who was removed on a day does not hold the role on it",
        _SCHEMA,
        "asked_no < ended.day_no",
        "asked_no <= ended.day_no",
        _QUESTIONS,
    ),
    Mutation(
        "what changed and changed back is no change",
        _SCHEMA,
        "\n    HAVING pg_catalog.count(*) % 2::BIGINT = 1;",
        ";",
        _QUESTIONS,
    ),
    Mutation(
        "of a day that is not staged nobody says who held what",
        _SCHEMA,
        "known.sync_day = asked_day AND known.staged_at IS NOT NULL",
        "known.sync_day = asked_day",
        f"{_IN_STAGING}"
        "test_a_question_about_a_day_that_is_not_staged_or_in_reversed_order_is_refused",
    ),
    # The checks.
    Mutation(
        "a fifth of invalid rows is a warning",
        _CHECKS,
        "share > MAX_INVALID_SHARE",
        "share >= MAX_INVALID_SHARE",
        f"{_IN_CHECKS}"
        "test_invalid_rows_are_a_warning_and_above_a_fifth_an_error_but_valid_rows_go_on",
    ),
    Mutation(
        "the number of removals staged is compared with the day's record",
        _CHECKS,
        '(facts["removed_recorded"], facts["removed_stored"])',
        '(facts["removed_stored"], facts["removed_stored"])',
        _DAMAGED_DAY,
    ),
    Mutation(
        "a broken rule of staging stops the run",
        _CHECK_SPECS,
        '_spec("stg_agent_roles", name, description, blocking=True)',
        '_spec("stg_agent_roles", name, description)',
        _DAMAGED_DAY,
    ),
    Mutation(
        "the mapping's pairs are compared, not only their number",
        "sql/checks/mapping.sql",
        "(mapping.pairs, mapping.fingerprint) = (staged.pairs, staged.fingerprint)",
        "mapping.pairs = staged.pairs",
        _DAMAGED_MAPPING,
    ),
    Mutation(
        "what is new beside the invalid rows is new since a staged day",
        "sql/checks/errors.sql",
        "                    AND earlier.staged_at IS NOT NULL\n",
        "",
        "tests/orchestration/test_assets.py::test_which_errors_are_new_is_told_against_the_staged_day_before",
    ),
    # Secrets, and who may do what.
    *(
        Mutation(
            f"{name} is not shown with the settings", _SETTINGS, text, becomes, _SHOWN_SETTINGS
        )
        for name, text, becomes in (
            (
                "the database's password",
                "database_url: str | None = field(repr=False)",
                "database_url: str | None",
            ),
            ("Spark's token", "spark_master: str = field(repr=False)", "spark_master: str"),
            (
                "a key of Spark's",
                "spark_conf: Mapping[str, str] = field(repr=False)",
                "spark_conf: Mapping[str, str]",
            ),
            (
                "the webhook",
                "webhook_url: str | None = field(repr=False)",
                "webhook_url: str | None",
            ),
        )
    ),
    Mutation(
        "an error of a disk or a store is not quoted",
        _PACKAGE + "landing/errors.py",
        "can't be read ({type(error).__name__})",
        "can't be read ({error})",
        "tests/landing/test_errors.py::"
        "test_a_disk_that_gives_an_error_is_not_taken_for_an_empty_one_and_its_text_is_not_told",
    ),
    Mutation(
        "an error of PostgreSQL's quotes no row",
        _PACKAGE + "postgres/connection.py",
        "if error.diag.message_detail is None and error.diag.context is None:",
        "if True:",
        f"{_SECRETS}::test_what_runs_write_has_no_secret_in_it",
    ),
    Mutation(
        "readers do not see what was refused",
        _ROLES,
        "    id, agent_id, role_id, error_type, error_message, created_at, sync_day\n",
        "    id, agent_id, role_id, error_type, error_message, created_at, sync_day, raw_record\n",
        "tests/postgres/test_database.py::test_a_reader_sees_who_holds_what_and_changes_nothing",
    ),
    Mutation(
        "the runner changes no errors",
        _ROLES,
        "GRANT SELECT, INSERT, DELETE ON agent_role_pipeline_errors",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON agent_role_pipeline_errors",
        "tests/postgres/test_database.py::test_the_job_runs_by_tls_as_a_role_that_can_do_little_else",
    ),
    Mutation(
        "who has no role creates nothing beside the tables",
        _ROLES,
        "REVOKE CREATE ON SCHEMA %I FROM PUBLIC, agent_roles_runner",
        "REVOKE CREATE ON SCHEMA %I FROM agent_roles_runner",
        "tests/postgres/test_database.py::test_a_reader_sees_who_holds_what_and_changes_nothing",
    ),
    # The engines.
    Mutation(
        "Sail's port is closed",
        _DOOR,
        "os.dup2(closed.fileno(), each.descriptor, inheritable=False)",
        "pass",
        _IN_SAIL + "test_another_account_is_refused_while_the_queries_go_on",
    ),
    Mutation(
        "nobody else is connected to Sail",
        _DOOR,
        "    if strangers:\n        raise Intruder",
        "    if False:\n        raise Intruder",
        _IN_SAIL + "test_a_connection_that_came_before_ours_ends_the_run",
    ),
    Mutation(
        "nobody else gets as far as Sail",
        _DOOR,
        "        _let_in_only(each.descriptor, our_port)\n",
        "        pass\n",
        _IN_SAIL + "test_who_comes_while_the_port_is_open_is_not_let_in_even_if_he_leaves_at_once",
    ),
    Mutation(
        "what tasks ask PostgreSQL is cancelled when a run ends",
        _TASKS,
        "    cancel_all()\n",
        "",
        _IN_SAIL + "test_a_signal_ends_a_run_at_once_and_nothing_is_published",
    ),
    Mutation(
        "what a killed run spilled is removed",
        _SAIL,
        "                    shutil.rmtree(old, ignore_errors=True)\n",
        "",
        _IN_SAIL + "test_what_a_killed_run_spilled_is_removed_and_a_running_ones_is_not",
    ),
    Mutation(
        "what a running run spilled stays",
        _SAIL,
        "_locked(old, fcntl.LOCK_NB)",
        "suppress()",
        _IN_SAIL + "test_what_a_killed_run_spilled_is_removed_and_a_running_ones_is_not",
    ),
    Mutation(
        "memory has a bound",
        _SAIL,
        '        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",\n',
        "",
        _IN_SAIL + "test_with_a_tiny_pool_the_tables_are_equal_or_a_sentence_says_why_not",
    ),
    Mutation(
        "a batch of another schema is no batch of nulls",
        _TASKS,
        "            _require_schema(batch, schema)\n",
        "",
        _IN_SAIL + "test_a_batch_of_another_schema_fails_and_is_not_taken_for_nulls",
    ),
    Mutation(
        "a task claims by its own number",
        _PACKAGE + "staging/load.py",
        'withColumn("task", F.spark_partition_id())',
        'withColumn("task", F.spark_partition_id() * 0)',
        _IN_STAGING + "test_a_snapshot_that_is_read_in_many_ranges_is_read_whole_and_once",
    ),
    Mutation(
        "blanks around an id are ASCII's",
        _PACKAGE + "rules.py",
        r'BLANKS = r"[ \t\n\x0B\f\r]*"',
        r'BLANKS = r"\s*"',
        "tests/staging/test_validation.py",
    ),
    Mutation(
        "Spark's settings are no arguments",
        _PACKAGE + "engines/apache_spark.py",
        "LazyPySparkResource(spark_config={}).spark_session",
        "LazyPySparkResource(spark_config=dict(config)).spark_session",
        _ON_SPARK,
    ),
    Mutation(
        "Spark's tasks ask each other for a secret",
        _PACKAGE + "engines/start.py",
        '            "spark.authenticate": "true",\n',
        "",
        _ON_SPARK,
    ),
)
