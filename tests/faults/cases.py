"""Every case of the fault list: what it is, how important, and which tests show it.

A is for the first release, B for running unattended. tests are node ids below tests/; one that
begins with "fuzz" is a call of tests/faults/fuzz.py. missing says what of the case is not shown by
any test, and why; full, the environment of a run at full length, which is shorter by default.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    name: str
    rank: str
    what: str
    tests: tuple[str, ...]
    missing: str = ""
    limit: float = 600.0
    """Seconds for all its tests together, so that nothing hangs for ever; the goals are in the
    tests. Several times what it takes, as machines are shared."""
    full: str = ""


STREAMS, STAGES = "faults/slow_streams.py", "faults/slow_stages.py"
OUTPUTS = "faults/slow_outputs.py"
NO_CAMERA = "shown with a fake capture in the source's tests: no camera here"


def _case(
    name: str,
    rank: str,
    what: str,
    *tests: str,
    missing: str = "",
    limit: float = 600.0,
    full: str = "",
) -> Case:
    return Case(name, rank, what, tests, missing, limit, full)


CASES = (
    _case(
        "F01",
        "A",
        "RTSP stops sending for 20 s",
        f"{STREAMS}::test_a_stall_is_told_and_overcome",
        "test_source_rtsp.py",
    ),
    _case(
        "F02",
        "A",
        "RTSP server killed and restarted",
        f"{STREAMS}::test_a_server_that_dies_again_and_again",
        "test_source_url.py::test_reconnecting_leaks_nothing",
        limit=2400,
        full="FAULT_CYCLES=50 FAULT_PAUSE=15",
    ),
    _case(
        "F03",
        "A",
        "server absent at the start",
        f"{STREAMS}::test_a_server_that_comes_late",
        "test_live.py::test_a_server_that_comes_up_after_20_s_needs_at_most_8_attempts",
        "test_cli_sources.py::test_a_stream_that_never_comes",
    ),
    _case(
        "F04",
        "A",
        "server comes back with another size",
        f"{STREAMS}::test_a_server_that_comes_back_with_another_size",
    ),
    _case("F05", "A", "TCP accepted, nothing sent", f"{STREAMS}::test_silence_and_trickle[stall]"),
    _case(
        "F06",
        "A",
        "TCP trickle",
        f"{STREAMS}::test_silence_and_trickle[trickle]",
        "test_source_url.py::test_broken_connections_are_made_again",
    ),
    _case(
        "F07",
        "B",
        "401, 404, not a video",
        f"{STREAMS}::test_refusals_are_named_without_secrets",
        "test_source_url.py::test_refusals_are_named_and_asked_again_slowly",
        "test_source_url.py::test_what_is_no_video_is_an_error_even_when_waiting",
    ),
    _case(
        "F08",
        "A",
        "FIFO without a writer, or with one that stalls",
        "test_run.py::test_a_source_blocked_in_read_can_be_stopped",
        "test_run.py::test_a_pipe_that_stays_silent_is_given_up",
        f"{STREAMS}::test_a_pipe_whose_writer_stalls",
    ),
    _case(
        "F09",
        "A",
        "camera blocks in read()",
        "test_source_camera.py::test_a_blocked_read_shows_as_stalled",
        "test_source_camera.py::test_close_does_not_wait_for_a_blocked_read",
        missing=NO_CAMERA,
    ),
    _case(
        "F10",
        "A",
        "camera gives no pictures",
        "test_source_camera.py::test_no_busy_loop_while_there_is_no_picture",
        "test_source_camera.py::test_a_camera_that_stays_away_is_lost_beyond_the_limit",
        missing=NO_CAMERA,
    ),
    _case(
        "F11",
        "A",
        "empty, text, folder, missing, forbidden files",
        "test_run.py::test_bad_inputs_are_one_line_and_exit_3",
        "test_source_file.py::test_missing_folder_and_forbidden",
        "test_source_file.py::test_not_a_video",
    ),
    _case("F12", "A", "mp4 without its index", "test_source_file.py::test_no_index"),
    _case(
        "F13",
        "A",
        "cut video",
        "test_cli_sources.py::test_a_damaged_or_cut_video_gives_what_it_holds_and_says_so",
        "test_source_file.py::test_cut_with_its_index",
        "test_source_file.py::test_cut_without_an_index_in_front",
    ),
    _case(
        "F14",
        "A",
        "damaged packets",
        "test_source_file.py::test_damage_in_the_middle_costs_few_frames",
        "test_source_file.py::test_damage_everywhere",
        f"{STAGES}::test_motion_jpeg_with_broken_pictures",
        f"{STAGES}::test_recovery_gives_three_times_the_frames_of_naive_reading",
    ),
    _case(
        "F15",
        "A",
        "turned and mirrored video",
        "test_cli_sources.py::test_turned_and_mirrored_videos_give_the_same_people",
        "test_source_file.py::test_orientation",
    ),
    _case(
        "F16",
        "A",
        "variable frame rate",
        "test_cli_sources.py::test_every_frame_of_a_video_with_its_own_time",
        "test_source_file.py::test_variable_rate_keeps_the_containers_timestamps",
    ),
    _case(
        "F17",
        "B",
        "no or unbelievable frame rate",
        "test_source_file.py::test_unbelievable_rate_is_unknown",
        "test_source_file.py::test_raw_stream_without_timestamps",
    ),
    _case(
        "F18",
        "A",
        "another size inside a file",
        "test_cli_sources.py::test_another_size_in_the_middle_goes_on_in_a_second_file",
        "test_source_file.py::test_size_change_is_not_rescaled",
    ),
    _case(
        "F19",
        "B",
        "odd and huge sizes",
        "test_source_file.py::test_odd_sizes",
        "test_source_file.py::test_huge_pictures_are_refused_before_they_are_decoded",
        f"{STAGES}::test_sizes_through_the_whole_program",
    ),
    _case(
        "F20",
        "A",
        "pixel formats",
        "test_source_file.py::test_colours",
        "test_source_file.py::test_gray",
        "test_source_file.py::test_palette",
    ),
    _case(
        "F21",
        "A",
        "sound first, sound only, cover picture",
        "test_source_file.py::test_audio_beside_the_video",
        "test_source_file.py::test_audio_only_is_refused",
        "test_source_file.py::test_cover_picture_is_not_a_video",
    ),
    _case(
        "F22",
        "A",
        "0 to 1000 people, unusable boxes",
        "test_faulty.py",
        f"{STAGES}::test_nonsense_from_the_networks",
        "test_detect.py::test_unusable_boxes_are_dropped",
    ),
    _case(
        "F23",
        "A",
        "heatmaps that are no numbers, zero, constant",
        "test_faulty.py",
        f"{STAGES}::test_nonsense_from_the_networks",
        "test_decode.py::test_maps_that_are_not_finite_give_no_joint",
        "test_decode.py::test_constant_maps_give_the_first_cell",
    ),
    _case("F24", "A", "a stage raises", "test_run.py::test_a_failing_stage_ends_the_run_named"),
    _case(
        "F25",
        "A",
        "a stage hangs",
        "test_run.py::test_a_hanging_stage_is_named_and_ends_the_run",
        f"{STAGES}::test_any_hanging_stage_is_named",
    ),
    _case(
        "F26",
        "A",
        "the process dies in a stage",
        "test_faulty.py::test_without_any_memory_and_death",
        missing="there are no helper processes; the run itself dies and its video plays",
    ),
    _case(
        "F27",
        "A",
        "live overload",
        f"{STAGES}::test_overload_stays_fresh",
        "test_cli_outputs.py::test_a_live_source_under_overload_stays_fresh",
        limit=900,
        full="FAULT_SECONDS=600",
    ),
    _case(
        "F28", "A", "slow network on a file", f"{STAGES}::test_a_slow_stage_loses_nothing_of_a_file"
    ),
    _case(
        "F29", "B", "slow recorder, live", f"{STAGES}::test_a_slow_disk_costs_the_recording_only"
    ),
    _case(
        "F30",
        "A",
        "signals at every moment",
        f"{OUTPUTS}::test_signals_at_every_moment",
        "test_cli_outputs.py::test_signals_at_random_moments",
        "test_cli_outputs.py::test_a_second_interrupt_leaves_at_once",
    ),
    _case(
        "F31",
        "A",
        "SIGKILL while recording",
        f"{OUTPUTS}::test_kills_cost_less_than_a_second",
        "test_sink_record.py::test_a_kill_costs_less_than_a_second",
        missing="10 kills a run: ten runs are the hundred",
    ),
    _case(
        "F32",
        "A",
        "disk full, or nearly",
        f"{OUTPUTS}::test_a_small_disk",
        "test_statusfile.py",
        "test_cli_outputs.py::test_a_full_disk_ends_one_output_and_not_the_others",
        "test_cli_outputs.py::test_a_full_disk_ends_the_run_with_its_last_output",
    ),
    _case(
        "F33",
        "A",
        "disk full while finishing, or for one output",
        "test_sink_record.py::test_the_file_plays_whatever_write_of_the_end_is_the_last",
        "test_sink_record.py::test_a_full_disk_keeps_what_is_there",
        "test_formats_files.py::test_a_full_disk",
    ),
    _case(
        "F34",
        "A",
        "outputs that exist, are links, folders, pipes, the input",
        "test_run.py::test_the_output_may_not_be_the_input",
        "test_cli_outputs.py::test_outputs_that_cannot_be_are_refused_at_once",
        "test_run.py::test_overwrite_keeps_the_old_file_until_a_clean_end",
    ),
    _case(
        "F35",
        "A",
        "no folder, read only, no permission",
        "test_run.py::test_outputs_are_refused_before_any_model_is_loaded",
    ),
    _case(
        "F36",
        "A",
        "no display, a display that goes away, a closed window",
        "test_cli_outputs.py::test_without_a_display_the_program_goes_on_without_a_window",
        "test_cli_outputs.py::test_a_display_that_goes_away",
        "test_cli_outputs.py::test_the_window_is_quit_by_key_and_by_closing",
    ),
    _case(
        "F37",
        "A",
        "memory of the GPU full",
        "test_faulty.py",
        f"{STAGES}::test_nonsense_from_the_networks",
        missing="with a stub; a CUDA error that stays is any other error of a stage",
    ),
    _case(
        "F38",
        "A",
        "a device that is not there",
        "test_engines.py::test_a_gpu_asked_for_and_absent_is_refused",
        "test_engines.py::test_an_engine_that_cannot_is_refused_not_replaced",
        "test_engines_onnxruntime.py::test_cuda_that_turns_into_the_cpu_is_refused",
    ),
    _case(
        "F39",
        "A",
        "damaged weights",
        "test_engines.py::test_other_files_are_refused",
        "test_engines.py::test_a_known_name_with_other_content_is_refused",
        "test_engines_cache.py::test_changed_and_missing_files_are_refused",
        "test_bundled.py",
    ),
    _case(
        "F40",
        "A",
        "pickles that run code",
        "test_train_import.py::test_no_entry_runs_a_pickle",
        "test_train_import.py::test_the_canary_sings_where_pickles_are_run",
        "test_train_checkpoint.py::test_a_state_that_runs_code_is_refused",
        "faults/test_fuzz_quick.py::test_canaries_stay_silent",
    ),
    _case(
        "F41",
        "A",
        "ONNX weights in other files; plans of others",
        "test_engines.py::test_weights_in_other_files_are_refused",
    ),
    _case("F42", "B", "downloads cut, changed, redirected", "test_engines_pull.py"),
    _case(
        "F43",
        "B",
        "the process is stopped for a minute, clock steps",
        f"{STREAMS}::test_a_stopped_process_goes_on",
        "test_ledger.py::test_a_pause_of_the_whole_process_is_no_hang",
        missing="all clocks are monotonic; faketime and stress-ng are not run",
    ),
    _case(
        "F44",
        "A",
        "standard streams closed or full, no home, no locale",
        "test_cli_outputs.py::test_standard_streams_closed_full_or_abandoned",
        "test_cli_outputs.py::test_with_all_standard_streams_closed_the_files_are_whole",
        "test_cli_outputs.py::test_odd_places_to_start_from",
    ),
    _case(
        "T1",
        "A",
        "kills while saving",
        "test_train_checkpoint.py::test_kills_while_saving_never_cost_a_run",
        limit=900,
    ),
    _case(
        "T2",
        "A",
        "stop and resume",
        "test_train_loop.py::test_an_interrupted_run_ends_with_the_same_bits",
        limit=900,
    ),
    _case(
        "T3",
        "A",
        "disk full while saving",
        "test_train_checkpoint.py::test_a_full_disk_is_one_line_and_keeps_the_one_before",
        "test_train_checkpoint.py::test_a_file_that_cannot_grow_is_one_line",
    ),
    _case(
        "T4",
        "A",
        "bad pictures in the data",
        "test_train_check.py",
        "test_train_loop.py::test_an_unreadable_picture_is_named",
    ),
    _case(
        "T5",
        "B",
        "numbers that are not finite",
        "test_train_loop.py::test_numbers_that_are_not_finite_end_the_run",
    ),
    _case(
        "T6",
        "A",
        "signals while training",
        "test_train_command.py::test_signals_save_while_a_sample_is_slow",
    ),
    _case(
        "T7",
        "A",
        "resume with other options",
        "test_train_loop.py::test_other_options_are_refused_by_name",
    ),
    _case(
        "T8",
        "B",
        "a sample process dies",
        "test_train_loop.py::test_a_killed_sample_process_is_one_line",
    ),
    _case(
        "T9",
        "B",
        "two runs in one folder",
        "test_train_checkpoint.py::test_two_processes_do_not_train_in_one_folder",
    ),
    _case(
        "C1",
        "A",
        "no connection but to the source",
        f"{OUTPUTS}::test_no_connection_but_to_the_source",
        "test_engines_cache.py::test_only_pull_can_open_a_connection",
    ),
    _case("C2", "A", "a system library is missing", "test_system.py"),
    _case(
        "S4",
        "B",
        "starts and stops in one process",
        "test_api.py::test_starts_and_stops_leave_nothing_behind",
    ),
    _case(
        "S1",
        "B",
        "an hour at 30 fps",
        "faults/slow_soak.py",
        missing="a recording also keeps its index, 85 bytes a frame (9 MiB an hour), until it is"
        " closed; age is not looked at",
        limit=5400,
        full="FAULT_SECONDS=3600",
    ),
    _case("G14v", "A", "damaged videos through the reader", "fuzz video --count 1000", limit=900),
    _case(
        "G14r",
        "A",
        "damaged videos through the program",
        "fuzz run --count 100 --whole 10",
        limit=1800,
        missing="one SIGSEGV in some 800 videos: in malloc_trim, which OpenVINO calls as it gives"
        " a network back, after 30 videos in one process (a command line ends without that); it"
        " did not come again, also not with glibc's heap checks and valgrind",
    ),
    _case(
        "G14o",
        "A",
        "command lines and configurations",
        "fuzz options --count 500 --whole 10",
        limit=900,
    ),
    _case("G14l", "A", "annotation files", "fuzz labels --count 200 --whole 10", limit=900),
    _case("G14w", "A", "weight files", "fuzz weights --count 200 --whole 10", limit=1800),
)
