//! The list of names: every implementation runs exactly these.

/// Hands the list to `$then!`, a macro that is given what is in the parentheses
/// first.
#[macro_export]
macro_rules! conformance_list {
    ($then:ident!($($first:tt)*)) => {
        $then! {
            $($first)*
            begin {
                a_win_is_pending_and_due_after_the_first_grace
                a_win_is_handed_off_with_its_lease_and_its_message
                without_a_relay_a_win_is_due_at_once
                a_draw_that_wins_nothing_has_no_award
                an_award_to_be_released_by_hand_is_held_and_not_published
                an_award_with_a_date_is_held_until_that_date
                an_award_whose_date_has_passed_begins_pending
                an_external_award_is_in_doubt_from_its_first_way_into_pending
                an_outside_award_has_the_lane_of_its_endpoint
                ids_are_never_reserved_twice
            }
            marks {
                a_message_that_was_taken_has_its_position_and_a_grace
                a_mark_keeps_the_lease
                the_grace_after_a_mark_follows_the_publishes
                a_failed_publish_waits_no_shorter_than_the_grace
                the_note_of_a_sent_message_never_falls
                a_message_that_is_refused_for_good_is_a_dead_letter
                the_mark_of_an_earlier_publish_is_late
                a_mark_never_takes_back_a_claim
                a_mark_never_wakes_what_waits_for_its_next_attempt
                a_mark_never_ends_a_hold
                a_mark_never_revives_what_is_delivered
                a_mark_never_revives_a_dead_letter
                a_mark_never_revives_what_is_cancelled
                the_mark_of_a_copy_for_another_service_is_late
                marks_of_a_batch_are_answered_each_for_itself
            }
            copies {
                a_claim_counts_its_attempt_and_holds_for_the_lease_time
                a_claim_begins_the_graces_anew
                a_copy_needs_no_mark_before_it
                a_copy_is_dropped_before_the_retry_is_due
                a_copy_begins_the_next_attempt_when_the_retry_is_due
                a_copy_is_dropped_while_another_worker_has_the_award
                a_copy_is_dropped_while_the_award_is_held
                a_copy_of_what_is_over_is_dropped
                an_outside_kind_is_named_and_left_alone
                a_copy_without_a_permit_is_set_aside_and_no_attempt_is_counted
                a_lane_whose_turn_has_passed_takes_the_copy_at_once
                a_copy_of_no_award_of_ours_changes_nothing
                two_copies_in_one_batch_are_one_claim
            }
            local {
                a_text_is_delivered_when_its_copy_comes
                points_are_credited_once_whatever_comes_twice
                each_award_is_given_a_code_of_its_own
                an_award_without_a_code_is_held_and_no_attempt_is_counted
                an_award_held_for_a_code_gets_it_once_codes_are_imported
                a_physical_award_is_held_for_an_address_as_long_as_declared
                an_external_award_is_held_until_its_service_confirms
                a_batch_of_all_kinds_answers_each_copy_for_itself
            }
            poison {
                a_poison_row_never_wedges_its_batch
                a_poison_row_waits_and_its_attempt_is_counted
                a_poison_row_is_left_alone_until_its_time
                a_poison_row_is_a_dead_letter_after_its_last_attempt
            }
            decide {
                a_delivered_award_is_over
                a_retry_waits_by_the_schedule
                a_retry_waits_as_long_as_the_endpoint_asks
                the_last_attempt_that_fails_makes_a_dead_letter
                an_unknown_outcome_is_repeated_where_the_endpoint_is_idempotent
                an_unknown_outcome_on_the_last_attempt_makes_a_dead_letter
                an_unknown_outcome_is_never_repeated_elsewhere
                what_the_endpoint_refuses_is_a_dead_letter_at_once
                a_fault_of_the_endpoint_gives_the_attempt_back
                a_fault_that_lasts_makes_a_dead_letter
                a_fault_counts_from_its_last_beginning
                a_hold_gives_the_attempt_back
                a_hold_whose_reason_ended_meanwhile_waits_for_nobody
                a_claim_is_given_back_whole
                a_worker_that_slept_through_its_lease_changes_nothing
                a_record_counts_only_while_the_award_is_in_hand
                records_of_a_batch_are_answered_each_for_itself
            }
            rescue {
                what_was_never_published_is_published
                nothing_is_rescued_before_its_time
                each_publish_waits_twice_as_long_up_to_the_longest_grace
                what_waited_for_its_next_attempt_is_published
                nothing_is_published_while_the_breaker_is_open
                a_call_of_a_lost_worker_is_repeated_where_the_endpoint_is_idempotent
                a_worker_lost_on_the_last_attempt_leaves_a_dead_letter
                a_call_of_a_lost_worker_is_never_repeated_elsewhere
                what_one_rescuer_took_the_other_finds_no_more
                what_is_over_is_never_rescued
                a_step_looks_at_one_lane_only
                lanes_with_due_rows_are_named_with_the_next_date
                a_step_is_bounded_and_says_where_to_go_on
                what_was_never_published_goes_first
                rescue_and_a_late_worker_deliver_once
                a_change_of_the_endpoint_counts_at_once
                an_award_goes_on_while_its_campaign_is_closed
            }
            rescue_held {
                an_award_with_a_date_is_published_on_that_date
                an_external_award_with_a_date_is_in_doubt_once_published
                a_hold_by_hand_waits_for_a_person_however_long
                a_shipment_that_is_late_is_told_and_waits
                a_pause_that_lasts_is_told_and_goes_on
                what_was_paused_is_published_on_its_date_once_resumed
                what_its_endpoint_held_is_published_on_its_date_once_enabled
                what_had_no_code_is_published_on_its_date_once_codes_are_there
                an_award_without_an_address_is_cancelled_when_its_time_is_over
                its_unit_goes_back_where_that_is_declared
                an_external_award_is_published_again_until_it_is_confirmed
                an_external_award_is_a_dead_letter_when_its_time_is_over
                holds_are_looked_at_while_the_breaker_is_open
            }
            lag {
                a_copy_that_lies_ahead_of_the_group_is_waited_for
                a_copy_that_the_group_has_passed_is_published_again
                a_copy_that_is_no_longer_kept_is_published_again
                a_copy_beyond_the_end_of_the_log_is_published_again
                a_copy_in_a_partition_that_is_gone_is_published_again
                a_copy_of_another_life_of_the_topic_is_published_again
                a_copy_of_another_life_still_waits_for_its_date
                a_copy_is_waited_for_no_longer_than_redelivery_max
                where_nobody_can_say_how_far_the_group_is_copies_are_waited_for
                what_has_no_copy_has_no_excuse
                a_retry_that_is_due_has_no_excuse
                every_way_back_into_pending_forgets_the_position
                rows_that_only_wait_never_hide_a_later_one
            }
            alone {
                what_was_on_its_way_is_due_at_once
                a_call_that_was_cut_off_is_judged_as_a_lost_worker
                the_date_of_a_retry_is_a_promise
                start_up_never_ends_a_hold_early
                start_up_leaves_what_is_over
            }
            holds {
                a_person_holds_what_is_on_its_way
                what_is_held_or_over_cannot_be_held
                a_release_ends_a_hold_by_hand
                a_release_ends_a_wait_for_a_date
                a_release_ends_no_other_hold
                an_address_leads_to_the_shipment
                an_address_given_before_it_is_asked_for_moves_nothing
                an_address_given_during_another_hold_moves_nothing
                an_address_for_what_is_over_is_refused
                only_a_physical_award_has_an_address_and_a_shipment
                a_shipment_is_a_doubt_and_waits_for_its_confirmation
                nothing_is_shipped_before_its_address_is_known
                an_endpoint_that_is_enabled_ends_its_holds
                only_holds_whose_reason_has_ended_are_ended
            }
            confirm {
                what_is_to_be_shipped_may_be_confirmed
                a_dead_letter_in_doubt_may_be_confirmed
                a_dead_letter_without_a_doubt_may_not
                an_external_award_may_be_confirmed_before_our_worker_saw_it
                an_external_award_may_be_confirmed_while_it_waits_for_its_turn
                an_external_award_may_be_confirmed_in_any_hold
                an_external_award_may_be_confirmed_after_its_time
                other_kinds_may_not_be_confirmed_on_their_way
                what_is_cancelled_may_not_be_confirmed
            }
            ends {
                a_dead_letter_is_put_back_with_all_its_attempts
                an_unpublishable_award_is_put_back_to_be_published
                a_dead_letter_in_doubt_asks_for_the_word
                a_doubt_outlives_the_requeue
                at_an_idempotent_endpoint_the_word_is_not_needed
                an_external_award_asks_for_the_word
                only_dead_letters_are_put_back
                a_dead_letter_is_put_back_once
                whatever_nobody_has_in_hand_may_be_cancelled
                a_cancelled_award_gives_its_unit_back_where_declared
                a_unit_in_doubt_never_goes_back_by_itself
                a_unit_goes_back_by_an_explicit_entry
                a_unit_goes_back_once
                a_delivered_unit_never_goes_back
                a_unit_that_went_back_can_be_won_again
                during_a_call_every_person_is_told_when_it_ends
                what_is_over_stays_as_it_is
            }
            pauses {
                a_paused_award_is_held_when_its_copy_comes
                a_pause_is_read_before_any_permit
                what_waits_for_its_next_attempt_is_paused_when_its_time_comes
                a_call_that_has_begun_is_recorded_during_a_pause
                a_campaign_is_paused_alone
                a_prize_is_paused_alone
                an_endpoint_is_paused_alone
                a_resume_lets_the_held_awards_go_in_steps
                what_another_pause_still_holds_stays
                only_what_is_paused_is_resumed
            }
            operate {
                each_act_is_in_the_operator_log
                an_act_is_in_the_timeline_of_its_award
                a_pause_and_a_resume_are_in_the_operator_log
                what_is_refused_changes_nothing
                an_award_that_does_not_exist_is_not_found
                each_attempt_is_in_the_timeline_of_its_award
            }
            bulk {
                all_dead_letters_are_put_back_where_no_filter_is_given
                each_filter_narrows
                what_is_in_doubt_stays_without_the_word
                what_is_put_back_is_spread_over_time
                long_work_goes_on_step_by_step
                a_doubt_that_stays_never_stops_the_work
                a_bulk_cancel_ends_what_nobody_has_in_hand
                a_bulk_cancel_gives_units_back_where_it_is_told_to
                a_bulk_release_ends_holds_by_hand_and_no_others
                a_bulk_action_is_stopped_between_two_steps
                a_bulk_action_that_is_not_over_is_gone_on_with
                what_is_looked_at_once_is_not_taken_again
            }
            people {
                a_blocked_user_draws_nowhere_until_unblocked
                points_are_taken_back_once
                a_dead_letter_that_was_seen_to_is_dismissed
                codes_that_were_withdrawn_are_given_no_more
                an_erased_user_has_another_name_and_its_sums_stay
                a_replay_of_an_erased_user_says_so
                an_answer_about_an_erased_user_is_kept_no_longer
                what_was_given_to_an_erased_user_is_given_to_nobody_else
                an_erased_user_of_many_draws_is_erased_in_steps
                an_erasure_is_not_stopped_half_way
            }
            kept {
                a_message_is_kept_once_for_each_position
                a_message_without_value_is_kept_too
                cleanup_leaves_everything_unfinished_however_old
                cleanup_leaves_dead_letters_which_wait_for_a_person
                cleanup_leaves_what_is_younger_than_its_retention
                a_copy_of_what_was_cleaned_up_delivers_nothing
            }
            adopt {
                an_order_of_another_system_becomes_an_award
                an_order_is_adopted_once_whatever_comes_twice
                orders_belong_to_their_source
                an_adopted_award_waits_where_its_prize_says_so
                an_adopted_award_of_an_endpoint_is_in_its_lane
                what_is_adopted_is_counted_as_a_draw_of_its_user
                nothing_is_adopted_where_something_is_counted
                an_order_that_was_refused_may_come_again
                orders_of_a_batch_are_answered_each_for_itself
                a_paused_campaign_adopts_and_a_closed_one_does_not
                nothing_is_adopted_for_a_user_who_is_being_erased
            }
            draws {
                a_draw_is_answered_with_its_facts
                the_same_key_replays_the_same_answer
                a_replay_is_equal_although_the_award_moved_on
                a_replay_says_how_its_award_began
                the_same_key_with_another_request_is_refused
                the_same_key_twice_in_one_batch_draws_once
                a_key_belongs_to_its_client_and_its_campaign
                a_refused_request_may_be_tried_again_with_its_key
                a_refused_request_may_come_back_as_another
                a_key_is_replayed_while_nobody_may_draw
                a_draw_from_a_campaign_that_does_not_exist_is_refused
            }
            limits {
                a_user_draws_no_more_than_in_all_allowed
                an_allowance_is_counted_within_a_batch
                a_request_for_many_is_all_or_none
                the_day_begins_at_midnight_of_the_campaigns_zone
                a_clock_that_goes_back_over_midnight_gives_no_day_again
                the_limit_in_all_outlives_the_day
                a_campaign_gives_no_more_draws_than_in_all_allowed
                what_was_drawn_counts_in_the_next_version_too
                a_blocked_user_draws_nothing
                users_draw_only_while_a_campaign_is_running
                users_draw_only_within_the_period
                a_refusal_changes_nothing
            }
            stock {
                each_roll_gives_the_prize_of_its_range
                stock_is_never_oversold_within_one_request
                the_last_unit_goes_to_the_first_in_the_batch
                stock_is_never_oversold_over_batches
                a_stock_of_nothing_gives_nothing
                what_cannot_be_given_gives_the_fallback
                what_cannot_be_given_is_spread_over_the_others
                a_daily_cap_ends_with_the_day
                one_user_wins_a_prize_no_more_often_than_allowed
                stock_and_daily_cap_hold_together
                stock_that_is_added_can_be_won_at_once
                no_more_stock_is_withdrawn_than_is_left
                unlimited_stock_cannot_be_changed
                a_change_of_stock_is_in_the_operator_log
            }
            campaigns {
                the_origin_of_a_database_never_changes
                a_file_makes_a_first_version_in_draft
                the_same_file_makes_no_new_version
                an_edit_of_a_draft_is_a_new_version
                what_waits_for_a_decision_cannot_be_edited
                a_kind_never_changes_under_a_slug
                a_new_version_stands_beside_the_one_in_force
                a_version_replaces_the_one_in_force_only_while_paused
                what_operators_added_outlives_a_new_version
                a_slug_that_disappears_keeps_its_awards
                only_allowed_commands_move_a_campaign
                an_unknown_campaign_is_not_found
                a_reopened_campaign_is_a_new_version_in_draft
                a_campaign_without_its_codes_cannot_start
                a_campaign_without_its_endpoint_cannot_start
                each_change_of_a_campaign_is_in_the_operator_log
            }
            endpoints {
                an_endpoint_is_kept_as_it_was_put
                an_endpoint_keeps_its_lane_its_secret_and_its_state
                a_new_secret_signs_beside_the_one_before
                a_rotated_secret_signs_until_the_end_that_was_told
                a_rotation_without_an_overlap_ends_every_older_secret_now
                a_secret_beyond_the_bound_is_refused_and_changes_nothing
                a_secret_that_has_ended_is_deleted
                a_secret_is_rotated_for_an_endpoint_that_is_there
                an_endpoint_is_enabled_and_disabled
                a_wrong_endpoint_is_not_kept
            }
            codes {
                an_import_needs_a_prize_of_kind_code
                an_import_counts_its_codes
                codes_are_invisible_until_their_import_is_finished
                a_step_with_a_duplicate_writes_nothing
                a_code_is_unique_in_its_campaign_whatever_its_prize
                duplicates_are_skipped_where_that_is_asked
                an_import_that_failed_leaves_nothing
                an_import_is_removed_in_steps
                what_a_dead_process_left_is_found_and_removed
                a_withdrawn_import_gives_no_more_codes_and_takes_none_back
                an_import_that_is_finished_twice_says_the_same
                a_newer_import_takes_the_codes_of_one_that_was_left
                codes_are_given_in_the_order_of_their_file
                codes_are_given_from_their_own_prize_only
            }
            seal {
                sealing_anew_comes_to_an_end_and_stays_there
                a_code_is_the_same_under_every_secret
                a_code_is_unique_over_a_change_of_the_secret
                an_endpoint_keeps_its_secrets_over_a_change_of_ours
            }
            keys {
                a_key_is_kept_under_an_id_of_its_own
                a_revoked_key_is_kept_and_marked
                a_key_may_be_for_some_campaigns_only
            }
            requests {
                a_repeated_request_has_one_effect_and_the_same_answer
                a_key_belongs_to_its_client_and_its_operation
                a_key_that_comes_with_another_request_is_refused
                a_request_that_changed_nothing_may_be_tried_again
                each_act_under_a_key_happens_once
                a_key_of_the_api_is_made_once_under_a_request_key
                a_secret_is_rotated_once_under_a_request_key
                the_first_answer_stands
                a_request_without_an_effect_here_is_kept_by_its_answer
                cleanup_removes_keys_that_are_older_than_their_retention
                who_submitted_may_not_approve_where_a_second_person_has_to
            }
            crowd {
                batches_at_once_never_oversell
                one_key_at_once_draws_once
                one_order_at_once_is_adopted_once
                one_allowance_at_once_is_not_exceeded
                ids_reserved_at_once_are_apart
                one_award_is_claimed_by_one_worker
                one_credit_is_made_by_one_worker
                each_code_goes_to_one_award
                rescuers_at_once_take_each_row_once
                dead_letters_requeued_twice_at_once_are_put_back_once
                of_two_people_one_is_heard
                stock_added_at_once_adds_up
            }
        }
    };
}

/// Makes one test of each case, by the name of its claim. `$bench` opens a fresh
/// store: it is called without arguments, and what it gives is awaited for an
/// `Arc<dyn Bench>`.
#[macro_export]
macro_rules! conformance_tests {
    ($bench:ident) => {
        mod conformance {
            async fn bench() -> Option<std::sync::Arc<dyn $crate::conformance::Bench>> {
                super::$bench().await.into()
            }
            use $crate::conformance_test;
            $crate::conformance_list!(conformance_test!());
        }
    };
}

/// See [`conformance_tests!`].
#[macro_export]
macro_rules! conformance_test {
    ($($module:ident { $($claim:ident)+ })+) => {
        $(mod $module {
            $(#[tokio::test]
            async fn $claim() {
                let name = concat!(stringify!($module), "::", stringify!($claim));
                if let Some(bench) = super::bench().await {
                    $crate::conformance::run(name, bench).await;
                }
            })+
        })+
    };
}
