package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dominion/broker/client"
	"dominion/cmd/dominion/demo/programs"
	"dominion/cmd/dominion/screen"
	"dominion/topics"
)

const (
	settle      = 50 * time.Millisecond  // what happens together is told together
	look        = 100 * time.Millisecond // between two looks at what must be looked at
	leaderAgain = time.Second            // from its death to its next start
	agentAgain  = 3 * time.Second        // less than the house's hold-off
)

// show is the demo while it runs. One goroutine owns it.
type show struct {
	config  Config
	folder  *folder
	company *company
	bus     *client.Client
	port    int
	began   time.Time
	signals <-chan os.Signal
	later   chan func() // what was put off, to be done by the loop

	story *story
	stage *stage
	keys  <-chan byte
	unraw func()
	table []text    // as it was printed last, where it is not kept in sight
	due   time.Time // of the next look at the story

	plugs   map[topics.Node]*plug
	kept    []programs.Living // the services when the leader died
	asks    sync.WaitGroup    // commands under way
	failure error
	ending  bool
	ended   time.Time // the house began to be taken down
}

// run is the loop. It returns nil when somebody ended the demo or its time
// was over with everything ready.
func (s *show) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.asks.Wait()
	defer cancel()
	s.unraw = func() {}
	if s.stage.live {
		s.keys, s.unraw = keyboard(s.config.In)
	}
	if err := s.invite(); err != nil {
		return err
	}
	s.stage.say(header(s.config.Version, s.company.house, s.port, s.config.Port)...)
	s.plan(ctx, s.began, s.story.next())
	var over <-chan time.Time
	if s.config.For > 0 {
		timer := time.NewTimer(s.config.For - time.Since(s.began))
		defer timer.Stop()
		over = timer.C
	}
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	byGo, parent := startedByGo(ctx), os.Getppid()
	for !s.ending && s.failure == nil && s.stage.failed == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-s.signals:
			return nil
		case <-over:
			return s.verdict(time.Now())
		case d := <-s.company.deaths:
			s.mourn(ctx, d)
		case key := <-s.keys:
			s.press(ctx, key)
		case do := <-s.later:
			do()
		case in := <-s.bus.Inbound():
			s.hear(ctx, in, time.Now())
		case now := <-ticker.C:
			s.watch(now)
			s.ending = s.ending || byGo && os.Getppid() != parent
		}
	}
	return s.failure
}

// put does something later, unless the demo ends before.
func (s *show) put(ctx context.Context, after time.Duration, do func()) {
	time.AfterFunc(after, func() {
		select {
		case s.later <- do:
		case <-ctx.Done():
		}
	})
}

// verdict is what --for says at its end.
func (s *show) verdict(now time.Time) error {
	if s.story.allReady(now) {
		return nil
	}
	var missing []string
	for _, l := range s.story.why(now) {
		if l.tone != good {
			missing = append(missing, l.subject+" is "+l.text)
		}
	}
	if !s.story.house.Leads() {
		missing = append(missing, "no coordinator leads: "+lastLine(s.folder.file("log", leader+".log")))
	}
	return fmt.Errorf("%w: %s", ErrNotReady, strings.Join(missing, "; "))
}

// invite starts the agents, once the broker listens.
func (s *show) invite() error {
	for _, a := range agents() {
		if err := s.company.start(string(a.name)); err != nil {
			return err
		}
	}
	return nil
}

// hear takes what the bus says.
func (s *show) hear(ctx context.Context, in topics.Inbound, now time.Time) {
	switch in.Link {
	case topics.LinkUp:
		s.story.house.Began(now)
	case topics.LinkSynced:
		s.story.house.Synced(now)
	}
	if in.Link != topics.LinkNone {
		return
	}
	s.measure(in.Message, now)
	s.story.apply(in.Message, now)
	s.plan(ctx, now, now.Add(settle))
}

// plan sees to it that the story is told at that time, or before.
func (s *show) plan(ctx context.Context, now, at time.Time) {
	if at.IsZero() || !s.due.IsZero() && !at.Before(s.due) {
		return
	}
	s.due = at
	s.put(ctx, at.Sub(now), func() {
		if at.Equal(s.due) { // else another was planned before it, and told it
			s.tell(ctx)
		}
	})
}

// tell brings the screen up to what is known.
func (s *show) tell(ctx context.Context) {
	s.due = time.Time{}
	now := time.Now()
	if s.kept != nil {
		s.story.losses[topics.Coordinator] = s.survivors()
	}
	lines := s.story.tell(now)
	if s.story.losses[topics.Coordinator] == "" {
		s.kept = nil
	}
	for _, l := range lines {
		s.say(l)
	}
	s.refresh(now)
	s.plan(ctx, now, s.story.next())
}

func (s *show) say(l line) {
	s.stage.tell(time.Since(s.began), l)
}

// refresh draws the table: below the lines on a live screen; elsewhere once,
// when the house stands.
func (s *show) refresh(now time.Time) {
	if !s.story.opened {
		return
	}
	t := table(s.story.table(now))
	switch {
	case s.stage.live:
		s.stage.show(slices.Concat(plainly(""), t, hints(s.port, s.keys != nil)))
	case s.table == nil && s.story.allReady(now):
		s.table = t
		s.stage.say(slices.Concat(plainly(""), t, hints(s.port, false))...)
	}
}

// restore gives the terminal back.
func (s *show) restore() {
	s.stage.show(nil)
	s.unraw()
	s.keys = nil
}

// press does what a key stands for.
func (s *show) press(ctx context.Context, key byte) {
	const ctrlC, ctrlD = 3, 4
	switch key {
	case 'k', 'K':
		s.unplug(time.Now())
	case 's', 'S':
		s.toggle(ctx, time.Now())
	case 'w', 'W':
		s.explain(time.Now())
	case 'q', 'Q', ctrlC, ctrlD:
		s.ending = true
	}
}

// toggle stops npBar, or starts it again, as an operator would.
func (s *show) toggle(ctx context.Context, now time.Time) {
	verb := "stop"
	if summary, ok := s.story.house.Summary(programs.NPBar, now); ok && summary.Run == topics.RunOff {
		verb = "start"
	}
	said := verb + " " + string(programs.NPBar)
	s.say(line{"you", said, plain})
	s.asks.Go(func() {
		_, err := s.bus.Ask(ctx, client.Command{
			Node: topics.Coordinator, Method: verb, Subject: string(programs.NPBar),
			Fields: map[string]any{"by": "demo"},
		})
		if err != nil {
			s.put(ctx, 0, func() { s.say(line{"you", said + ": " + err.Error(), bad}) })
		}
	})
}

// explain answers why, for every service and for each domain that is away.
func (s *show) explain(now time.Time) {
	view := screen.View{House: s.story.house, Now: now}
	style := screen.Style{Colour: s.stage.colour}
	var names []string
	for _, name := range s.story.cast.services {
		names = append(names, string(name))
	}
	for _, name := range s.story.cast.domains {
		if s.story.presence(name) != topics.Online {
			names = append(names, string(name))
		}
	}
	for _, name := range names {
		if service, domain := screen.Known(view, name); service || domain {
			s.stage.say(painted(screen.Why(view, name, style))...)
		}
	}
}

// mourn is called when the leader or an agent has ended.
func (s *show) mourn(ctx context.Context, d death) {
	now := time.Now()
	m := s.company.bury(d)
	name := topics.Node(d.name)
	if p := s.plugs[name]; p != nil && !p.out.IsZero() && p.back.IsZero() {
		return // it was meant
	}
	if m != nil && d.itself && now.Sub(m.began) < 2*time.Second {
		s.failure = fmt.Errorf("%s ended soon after its start (%s): %s", d.name, d.how, lastLine(s.folder.file("log", d.name+".log")))
		return
	}
	again := agentAgain
	subject := d.name
	if d.name == leader {
		again, subject = leaderAgain, "coordinator"
		s.kept, _ = programs.Census(s.folder.path)
	} else {
		s.plugs[name] = &plug{died: now}
	}
	how := d.how
	if d.itself {
		how += ": " + lastLine(s.folder.file("log", d.name+".log"))
	}
	s.say(line{subject, fmt.Sprintf("its process ended (%s), starts again in %d s", how, int(again.Seconds())), bad})
	s.put(ctx, again, func() {
		if err := s.company.start(d.name); err != nil {
			s.failure = err
		}
		if p := s.plugs[name]; p != nil {
			s.comeBack(name, p, time.Now())
		}
	})
}

// survivors says what became of the services while the leader was away.
func (s *show) survivors() string {
	living, err := programs.Census(s.folder.path)
	if err != nil {
		return "the services cannot be counted: " + err.Error()
	}
	gone := 0
	for _, l := range s.kept {
		if !slices.Contains(living, l) {
			gone++
		}
	}
	if gone > 0 {
		return fmt.Sprintf("%d of %d services did not live through it", gone, len(s.kept))
	}
	return "no service was restarted"
}

// end takes the house down: the agents with their services, then the leader
// with the devices it has at Home Assistant, then the folder. What does not
// end in time, or when a second signal comes, is killed.
func (s *show) end() error {
	s.ended = time.Now()
	if t := table(s.story.table(s.ended)); s.story.opened && !slices.Equal(t, s.table) {
		s.stage.say(append(plainly(""), t...)...)
	}
	s.say(line{"", "the house is taken down", plain})
	var names []string
	for _, a := range agents() {
		names = append(names, string(a.name))
	}
	s.dismiss(names, 12*time.Second)
	s.dismiss([]string{leader}, 8*time.Second)
	s.folder.release() // whatever still waits for it ends now
	left := s.lastLook()
	err := s.folder.remove()
	if left > 0 {
		err = errors.Join(err, fmt.Errorf("%d processes of services had to be killed", left))
	}
	if err == nil {
		s.say(line{"", "nothing is left of it", plain})
	}
	return err
}

// dismiss ends members: TERM, and KILL when they take longer than the limit.
func (s *show) dismiss(names []string, limit time.Duration) {
	waiting := map[string]bool{}
	for _, name := range names {
		if _, ok := s.company.running[name]; ok {
			waiting[name] = true
			s.company.signal(name, syscall.SIGTERM)
		}
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	kill := func() {
		for name := range waiting {
			s.company.signal(name, syscall.SIGKILL)
		}
	}
	for len(waiting) > 0 {
		select {
		case d := <-s.company.deaths:
			s.company.bury(d)
			delete(waiting, d.name)
		case <-s.signals:
			// What ended the demo may come here as well.
			if time.Since(s.ended) > 500*time.Millisecond {
				kill()
			}
		case <-timer.C:
			kill()
		}
	}
}

// lastLook waits until no service lives, and kills those that do after 3 s; it
// returns how many that were.
func (s *show) lastLook() int {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(3 * time.Second); ; <-tick.C {
		living, err := programs.Census(s.folder.path)
		if err != nil || len(living) == 0 {
			return 0
		}
		if time.Now().After(deadline) {
			for _, l := range living {
				killGroup(l.PID)
			}
			return len(living)
		}
	}
}
