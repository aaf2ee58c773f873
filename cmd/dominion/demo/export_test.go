package demo

import (
	"io"
	"time"

	"dominion/topics"
)

// Told is the story and a stage without the processes: what a screen shows
// when this was heard.
type Told struct {
	story *story
	stage *stage
	began time.Time
}

// NewTold begins to tell. A height makes the screen a live one.
func NewTold(out io.Writer, width, height int, began time.Time) *Told {
	s := &stage{out: out, live: height > 0, size: func() (int, int) { return width, height }}
	return &Told{newStory(topics.Space{}, theCast(nil), began), s, began}
}

func (t *Told) Hear(m topics.Message, at time.Duration) { t.story.apply(m, t.began.Add(at)) }

func (t *Told) Expect(domain topics.Node)            { t.story.returning[domain] = true }
func (t *Told) Note(domain topics.Node, text string) { t.story.losses[domain] = text }
func (t *Told) AllReady(at time.Duration) bool       { return t.story.allReady(t.began.Add(at)) }

// Tell writes what is new, and the footer on a live screen.
func (t *Told) Tell(at time.Duration) {
	for _, l := range t.story.tell(t.began.Add(at)) {
		t.stage.tell(at, l)
	}
	t.stage.show(append(plainly(""), table(t.story.table(t.began.Add(at)))...))
}

func (t *Told) Table(at time.Duration) { t.stage.say(table(t.story.table(t.began.Add(at)))...) }

func (t *Told) Next() time.Duration { return t.story.next().Sub(t.began) }

// Header and Hints are what stands above and below.
func (t *Told) Header(version string, id topics.HouseID, port int) {
	t.stage.say(header(version, id, port, usualPort)...)
}
func (t *Told) Hints(port int, keys bool) { t.stage.say(hints(port, keys)...) }

// Folder is a demo's folder without a demo.
type Folder = folder

func NewFolder(parent string) (*Folder, error)              { return newFolder(parent) }
func (f *folder) Path() string                              { return f.path }
func (f *folder) Release()                                  { f.release() }
func (f *folder) Furnish(executable string, port int) error { return f.furnish(executable, port) }

func Sweep(parent string) { sweep(parent) }

func CleanEnvironment(environ []string) []string { return cleanEnvironment(environ) }
