"""Costs between the predictions of members, edges between members, schedules of the weight."""
