package homeassistant

import (
	"strings"

	"dominion/topics"
)

// Templates are Jinja, rendered by Home Assistant. Each gives an answer for
// whatever may stand on its topic: not JSON (then value_json is undefined), a
// field that is missing, null or of another type. None is rendered as the
// word None, which Home Assistant takes as the state unknown and logs
// nothing; the word unknown it would complain about.

// houseConnectivity reads the coordinator's presence.
const houseConnectivity = `{{ 'ON' if value_json is defined and value_json.state | default('') == 'online' else 'OFF' }}`

// hostTemplate joins the domains of a summary. A state has at most 255
// characters: so many domains are counted.
const hostTemplate = `{% set w = value_json.where | default([], true) if value_json is defined else [] %}` +
	`{% set w = w if w is iterable else [] %}{% set s = w | join(', ') %}` +
	`{{ none if not s else s if s | length <= 255 else (w | length) ~ ' domains' }}`

// whyPart reads what both judgements and summaries have: w is the why.
const whyPart = `{% set v = value_json if value_json is defined else {} %}{% set w = v.why | default({}, true) %}`

const whyKeys = `'why': w.text | default(none), 'code': w.code | default(none), 'next': w.next | default(none)`

const serviceAttributes = whyPart + `{{ {` + whyKeys + `, 'because': v.because | default(none), ` +
	`'where': v.where | default([], true), 'wanted': v.wanted | default(none), ` +
	`'ready': v.ready | default(none), 'version': v.version | default(none)} | to_json }}`

const domainAttributes = whyPart + `{{ {` + whyKeys + `, 'judgement': v.state | default(none), ` +
	`'since': v.since | default(none)} | to_json }}`

// alertsTemplate reads how many alerts are open. It is no measurement: no
// graph of it is kept for years.
const alertsTemplate = `{{ value_json.open | int(none) if value_json is defined else none }}`

const alertsAttributes = `{% set v = value_json if value_json is defined else {} %}` +
	`{{ {'worst': v.worst | default(none), 'texts': v.texts | default([], true), 'next': v.next | default([], true)} | to_json }}`

// word gives the text in a field when it is one of these.
func word(name string, words ...string) string {
	return `{{ value_json.` + name + ` if value_json is defined and value_json.` + name + ` | default('') in ` + list(words...) + ` else none }}`
}

// number gives the number in a field.
func number(name string) string {
	return `{{ value_json.` + name + ` | float(none) if value_json is defined else none }}`
}

// isOneOf tells whether the text in a field is one of these; no text is unknown.
func isOneOf(name string, words ...string) string {
	return `{% set w = value_json.` + name + ` | default('', true) if value_json is defined else '' %}` +
		`{{ none if not w else 'ON' if w in ` + list(words...) + ` else 'OFF' }}`
}

// onlineTemplate gives online while the field state is one of these.
func onlineTemplate(states ...string) string {
	return `{{ 'online' if value_json is defined and value_json.state | default('') in ` + list(states...) + ` else 'offline' }}`
}

// leading reads the coordinator's presence: what the house says is true while
// it is online and active. While it settles, its retained words are those of
// the time before.
const leading = `{{ 'online' if value_json is defined and value_json.state | default('') == 'online'` +
	` and value_json.role | default('') == 'active' else 'offline' }}`

// domainConnectivity reads a judgement. One that the house cannot make is
// neither on nor off.
func domainConnectivity() string {
	return `{% set s = value_json.state | default('unknown') if value_json is defined else 'unknown' %}` +
		`{{ none if s == 'unknown' else 'ON' if s in ` + list(reachable()...) + ` else 'OFF' }}`
}

// problemTemplate reads a summary: what is broken, and what waits for a
// person and not for time.
func problemTemplate() string {
	return whyPart + `{% set p = v.phase | default('') %}` +
		`{{ 'ON' if p in ` + list(string(topics.SummaryFailing), string(topics.SummaryLost), string(topics.SummaryDegraded),
		string(topics.SummaryUnknown), string(topics.SummaryOrphaned)) +
		` or p == '` + string(topics.SummaryWaiting) + `' and w.code | default('') in ` + list(needPerson()...) +
		` else 'OFF' }}`
}

// needPerson are the reasons to wait that pass only when somebody does something.
func needPerson() []string {
	return []string{
		topics.NoDomain, topics.VersionMismatch, topics.NoDirectory, topics.NoMakefile,
		topics.BadValue, topics.BuildFailed, topics.PortTaken,
	}
}

// reachable are the judgements under which a domain's word is believed, see
// topics.JudgementState.Reachable.
func reachable() []string {
	return []string{string(topics.JudgedOnline), string(topics.JudgedSuspect)}
}

func list(words ...string) string { return `['` + strings.Join(words, `', '`) + `']` }
