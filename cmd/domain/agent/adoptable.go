package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"dominion/cmd/domain/around"
	"dominion/cmd/program"
	"dominion/device/outside"
)

// show lists what could be adopted, and what was.
func (a adoption) show(ctx context.Context) error {
	survey := around.All(ctx)
	dirs, _ := os.ReadDir(a.dir) // none: nothing was adopted
	for _, d := range dirs {
		m, err := Manifest(a.path(d.Name()))
		if err != nil {
			continue
		}
		kind, thing := keptBy(m)
		at := slices.IndexFunc(survey.Things, func(t around.Thing) bool { return t.Kind == kind && t.Name == thing })
		if at < 0 && kind != "" {
			found, err := around.Look(ctx, kind, thing)
			if err != nil {
				found = around.Thing{Kind: kind, Name: thing, State: outside.Missing, Says: err.Error()}
			}
			survey.Things = append(survey.Things, found)
			at = len(survey.Things) - 1
		}
		if kind != "" {
			survey.Things[at].Service, survey.Things[at].Own = d.Name(), m.Own
		}
	}
	if a.json {
		return json.NewEncoder(a.out).Encode(survey)
	}
	a.table(survey)
	return nil
}

// table is the list for people, within 80 columns.
func (a adoption) table(s around.Survey) {
	if len(s.Things) == 0 {
		fmt.Fprintln(a.out, "Nothing that runs here could be adopted.")
	} else {
		fmt.Fprintf(a.out, "%-8s %-28s %-13s %-9s %s\n", "KIND", "NAME", "PORTS", "STATE", "SERVICE")
	}
	next := ""
	for _, t := range s.Things {
		service := "-"
		switch {
		case t.Own:
			service = t.Service + " (own)"
		case t.Service != "":
			service = t.Service
		case next == "":
			next = map[string]string{around.Unit: "", around.Container: "--docker ", around.Process: "--pid-of "}[t.Kind] + t.Name
		}
		fmt.Fprintf(a.out, "%-8s %-28s %-13s %-9s %s\n", t.Kind, cut(t.Name, 28), cut(strings.Trim(fmt.Sprint(t.Ports), "[]"), 13), t.State, cut(service, 18))
	}
	for _, text := range s.Unseen {
		fmt.Fprint(a.out, program.Wrap("Not seen: "+text+"."+"\n"))
	}
	if next != "" {
		fmt.Fprintf(a.out, "next: sudo domain adopt %s\n", next)
	}
}

func cut(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}
