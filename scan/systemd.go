package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// exposure judges how much a unit is kept in, by systemd itself: its exposure level, from 0 (safe) to 10, may be limit
// at most.
func exposure(unit string, limit float64) func(ctx context.Context, m *machine) (string, []finding, error) {
	return func(ctx context.Context, m *machine) (string, []finding, error) {
		// The summary has the level; the list has what it is made of.
		out, err := m.root(
			ctx,
			"systemd-analyze security --no-pager "+unit+
				" | tail -n 1 && systemd-analyze security --no-pager --json=short "+unit,
			nil,
		)
		if err != nil {
			return "", nil, err
		}
		level, open, err := parseExposure(out)
		if err != nil {
			return "", nil, fmt.Errorf("of %s: %w", unit, err)
		}
		verdict := fmt.Sprintf("%s: %.1f, %.1f at most", unit, level, limit)
		if level <= limit {
			return verdict, nil, nil
		}
		return verdict, []finding{
			{unit, fmt.Sprintf("exposure %.1f is over %.1f, by %s", level, limit, strings.Join(open, ", "))},
		}, nil
	}
}

// parseExposure reads the level, and the settings that add to it.
func parseExposure(out string) (level float64, open []string, err error) {
	summary, list, _ := strings.Cut(out, "\n")
	_, rest, ok := strings.Cut(summary, "Overall exposure level for ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 2 {
		return 0, nil, fmt.Errorf("read the exposure: there is none in %q", summary)
	}
	if level, err = strconv.ParseFloat(fields[1], 64); err != nil {
		return 0, nil, fmt.Errorf("read the exposure: %w", err)
	}
	var settings []struct {
		Set      *bool   `json:"set"`
		Name     string  `json:"json_field"`
		Exposure *string `json:"exposure"`
	}
	if err := json.Unmarshal([]byte(list), &settings); err != nil {
		return 0, nil, fmt.Errorf("read the settings: %w", err)
	}
	for _, s := range settings {
		if s.Exposure != nil && *s.Exposure != "" && *s.Exposure != "0.0" {
			open = append(open, s.Name+" "+*s.Exposure)
		}
	}
	return level, open, nil
}
