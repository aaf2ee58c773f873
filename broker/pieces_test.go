//go:build e2e

package broker_test

// pieces are all pieces of armour, in the order of docs/armour.md.
func pieces() []piece {
	return []piece{

		// The listener
		{
			name: "a listener survives an error of accept", file: "accept.go",
			on: `		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return`,
			off: `		case err != nil:
			return`,
			test: "TestAListenerSurvivesErrorsOfAccept",
		},
		{
			name: "a listener survives the limit of file descriptors", file: "accept.go",
			on: `		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return`,
			off: `		case err != nil:
			return`,
			test: "TestNoFileDescriptorLeft",
		},
		{
			name: "accept backs off", file: "accept.go",
			on:   "wait = min(max(2*wait, shortest), longest)",
			off:  "wait = min(max(2*wait, shortest), longest) / longest",
			test: "TestAListenerSurvivesErrorsOfAccept",
		},
		{
			name: "5 s for CONNECT", file: "conn.go",
			on: `	_ = c.SetDeadline(time.Now().Add(o.ConnectTimeout))
`,
			off:  "",
			test: "TestAThousandThatNeverSpeakAreGoneInTenSeconds",
		},
		{
			name: "a panic costs one client", file: "crash.go",
			on:   "if p := recover(); p != nil {",
			off:  "if p := any(nil); p != nil {",
			test: "TestAPacketThatMakesMochiPanicCostsItsSenderAlone",
		},
		{
			name: "after a panic the client is lost: will, session, id", file: "crash.go",
			on: `	s.contain(c, "ending a client", func() { s.finish(c) })
`,
			off:  "",
			test: "TestAPacketThatMakesMochiPanicCostsItsSenderAlone",
		},
		{
			name: "a panic before CONNACK leaves the id free", file: "crash.go",
			on: `	defer s.takeover.pass(c)
`,
			off:  "",
			test: "TestAPanicBeforeConnackLeavesTheIdFree",
		},
		{
			name: "2 s for a write", file: "outbox.go",
			on: `			err = c.SetWriteDeadline(time.Now().Add(c.writeTimeout))
`,
			off:  "",
			test: "TestAStuckSubscriberThatSpeaksIsGoneToo",
		},
		{
			name: "a client that takes nothing is closed, not only failed", file: "outbox.go",
			on: `		c.stuck.Store(true)
		_ = c.Close()
`,
			off: `		c.stuck.Store(true)
`,
			test: "TestASubscriberThatStopsReadingCostsItsPublishersOneDeadline",
		},
		{
			name: "a cap on connections", file: "accept.go",
			on:   "if s.door.open.Add(1) > int64(s.opt.MaxConnections) {",
			off:  "if s.door.open.Add(1) < 0 {",
			test: "TestConnectionsAreCapped",
		},
		{
			name: "who is not let in keeps nobody out", file: "strangers.go",
			on:   "if s.there >= s.most || s.from[address] >= s.each {",
			off:  "if false {",
			test: "TestSilentConnectionsKeepNobodyOut",
		},
		{
			name: "64 KiB for CONNECT", file: "connect.go",
			on: `	case 1+n+length > longestConnect:
		return 0, false, errBigConnect
`,
			off:  "",
			test: "TestConnect",
		},

		// Takeovers
		{
			name: "the old session ends whole before the new one begins", file: "takeover.go",
			on: `	case <-old.ended:
`,
			off: `	case <-old.closed:
`,
			test: "TestATakeoverEndsTheOldSessionBeforeTheNewOneBegins",
		},
		{
			name: "one client at a time begins under an id", file: "takeover.go",
			on:   "\tif !s.takeover.take(c, cl.ID, patience.C, s.done) {",
			off:  "\tif s.takeover.turns == nil && !s.takeover.take(c, cl.ID, patience.C, s.done) {",
			test: "TestATakeoverStormHasOneSurvivor",
		},
		{
			name: "an older session that does not end keeps nobody waiting for ever", file: "takeover.go",
			on:   "\tpatience := time.NewTimer(s.opt.TakeoverWait)",
			off:  "\tpatience := time.NewTimer(time.Hour)",
			test: "TestAConnectIsTurnedAwayWhenTheOldSessionDoesNotEnd",
		},
		{
			name: "an id is not taken from another account", file: "takeover.go",
			on:   "\t\tif claim(c, cl.ID) <= claim(old, cl.ID) {",
			off:  "\t\tif false {",
			test: "TestAnotherAccountDoesNotTakeAnIdOver",
		},

		// The retained replay
		{
			name: "the replay goes on at a client that acknowledges late", file: "replay.go",
			on: `			c.replay.forget()
`,
			off:  "",
			test: "TestReplayGoesOnWhenAClientAcknowledgesLate",
		},
		{
			name: "the replay ends before what its client publishes to itself", file: "delivery.go",
			on:   " && !c.fences(pk) && ",
			off:  " && ",
			test: "TestReplayIsWholeAtASlowSubscriber",
		},
		{
			name: "news that overtakes the replay is the last word", file: "replay.go",
			on: `		sent = &pk.Payload[0]
		if !s.replayOne(c, sub, pk) {
			return false
		}
	}`,
			off: `		return s.replayOne(c, sub, pk)
	}`,
			test: "TestReplayIsNotTheLastWordWhenNewsOvertookIt",
		},

		// The store of retained messages
		{
			name: "retained messages are on the disk", file: "replay.go",
			on: `		s.store.touch(topic)
`,
			off:  "",
			test: "TestRetainedMessagesSurviveARestart",
		},
		{
			name: "what need not survive is not written", file: "replay.go",
			on:   "\tif s.store != nil && s.opt.Rules.Durable(topic) {",
			off:  "\tif s.store != nil {",
			test: "TestWhatNeedNotSurviveIsNotWritten",
		},
		{
			name: "what says the same is not written", file: "volume.go",
			on:   "\tif stored && hash == old.hash {",
			off:  "\tif stored && hash == old.hash && false {",
			test: "TestNothingIsWrittenForWhatSaysTheSame",
		},

		// Mochi's settings
		{
			name: "retained messages do not expire after a day", file: "bounds.go",
			on: `	c.MaximumMessageExpiryInterval = 0
`,
			off:  "",
			test: "TestRetainedMessagesDoNotExpire",
		},
		{
			name: "65,535 messages in flight, not 8,192", file: "bounds.go",
			on: `	c.MaximumInflight = math.MaxUint16
`,
			off: `	_ = math.MaxUint16
`,
			test: "TestUnacknowledgedMessagesAreNotLost",
		},
		{
			name: "a queue bounded in bytes for each client", file: "delivery.go",
			on:   "\treturn waiting+int(c.news.bytes.Load()) < bytes && (",
			off:  "\treturn bytes >= 0 && (",
			test: "TestAClientThatReadsTooSlowlyIsDisconnectedRatherThanDeceived",
		},
		{
			name: "who acknowledges late is waited for", file: "delivery.go",
			on:   "c.client.State.Inflight.Len() < unacknowledged)",
			off:  "unacknowledged >= 0)",
			test: "TestWhoAcknowledgesLateLosesNothing",
		},
		{
			name: "the keep-alive is clamped", file: "access.go",
			on: `	clampKeepAlive(c, cl, s.opt.MaxKeepAlive)
`,
			off: `	clampKeepAlive(c, cl, 43_690_000_000_000)
`,
			test: "TestKeepAliveIsClamped",
		},
		{
			name: "no will after the next birth", file: "access.go",
			on: `	s.settleWill(cl.ID, pk.Connect.Clean)
`,
			off:  "",
			test: "TestADelayedWill",
		},

		// The rules
		{
			name: "wills obey the rules at CONNECT", file: "wills.go",
			on:   "\tcase !s.mayWrite(c.who, w.TopicName, w.FixedHeader.Retain && empty):",
			off:  "\tcase false && !s.mayWrite(c.who, w.TopicName, w.FixedHeader.Retain && empty):",
			test: "TestWillsObeyTheRulesOfAnyMessage",
		},
		{
			name: "a refused message goes nowhere", file: "access.go",
			on: `	s.refused(c, Publishing, topic, why)
	pk.Ignore = true
	return pk, nil
`,
			off: `	s.refused(c, Publishing, topic, why)
	s.publish(c, &v.audience, pk)
	pk.Ignore = true
	return pk, nil
`,
			test: "TestARefusedPublishIsAcknowledgedAndGoesNowhere",
		},
		{
			name: "a refused message is acknowledged, its client stays", file: "access.go",
			on: `	s.refused(c, Publishing, topic, why)
	pk.Ignore = true
	return pk, nil
`,
			off: `	return pk, packets.ErrRejectPacket
`,
			test: "TestARefusedPublishDoesNotDisconnectPaho",
		},
		{
			name: "mochi is not asked who may write", file: "subscribe.go",
			on: "\tif write || c == nil {",
			off: `	if write {
		return s.judge(c, topic, false) == ""
	}
	if c == nil {`,
			test: "TestARefusedPublishIsAcknowledgedAndGoesNowhere",
		},
		{
			name: "mochi drops no message on $SYS unacknowledged", file: "access.go",
			on: `		pk.TopicName = shield + t
`,
			off: `		pk.TopicName = t
`,
			test: "TestARefusedPublishIsAcknowledgedAndGoesNowhere",
		},
		{
			name: "every refusal is told", file: "access.go",
			on:   "\tif s.opt.Refused == nil {",
			off:  "\tif s.opt.Refused == nil || true {",
			test: "TestAttacksAreRefusedAndTold",
		},

		// The end
		{
			name: "a planned shutdown publishes no will", file: "shutdown.go",
			on: `	s.stopping.Store(true)
`,
			off:  "",
			test: "TestAPlannedShutdownPublishesNoWill",
		},
		{
			name: "the last words are written", file: "shutdown.go",
			on: `	s.farewell()
`,
			off:  "",
			test: "TestLastWordsWaitInTheQueue",
		},
		{
			name: "the last words are read", file: "parting.go",
			on:   "\tif !ok || half.CloseWrite() != nil {",
			off:  "\tif !ok || half.CloseWrite() != nil || true {",
			test: "TestTheLastWordsOfAPlannedShutdownAreHeard",
		},
		{
			name: "one Close", file: "server.go",
			on: `	s.close = sync.OnceValue(s.shutDown)
`,
			off: `	s.close = s.shutDown
`,
			test: "TestCloseMayBeCalledByAnybodyAtOnce",
		},

		// Levels
		{
			name: "a filter of 32,000 levels is refused", file: "subscribe.go",
			on: `	case levels(bare) > s.opt.MaxLevels:
		return "too many levels", packets.ErrTopicFilterInvalid
`,
			off:  "",
			test: "TestDeepTopicsHoldNobodyUp",
		},
		{
			name: "a topic of 32,000 levels is refused", file: "access.go",
			on: `	case levels(topic) > s.opt.MaxLevels:
		return "too many levels"
`,
			off:  "",
			test: "TestDeepTopicsHoldNobodyUp",
		},
		{
			name: "a will of 32,000 levels is refused", file: "wills.go",
			on: `	case levels(w.TopicName) > s.opt.MaxLevels:
		return "too many levels"
`,
			off:  "",
			test: "TestDeepTopicsHoldNobodyUp",
		},

		// Leniencies towards the standard
		{
			name: "x/# covers x, and x/+/# x/a (4.7.1-2)", file: "depth.go",
			on: `			return deeper == "#"
`,
			off: `			return false
`,
			test: "TestReplay",
		},
		{
			name: "a#, +a and a+/b are no filters (4.7.1-2, 4.7.1-3)", file: "depth.go",
			on: `		case strings.ContainsAny(level, "+#"):
			return false
`,
			off:  "",
			test: "TestFilters",
		},
		{
			name: "no password without a user (3.1.2-22)", file: "identify.go",
			on:   "\tif pk.Connect.PasswordFlag && !pk.Connect.UsernameFlag {",
			off:  "\tif false {",
			test: "TestAPasswordWithoutAUserIsRefused",
		},
		{
			name: "nothing follows in a CONNECT (3.1.4-1)", file: "connect.go",
			on: `	case p.short || len(p.rest) > 0:
		fault = packets.ErrMalformedPacket
	default:
		fault = p.fault`,
			off: `	case p.short:
		fault = packets.ErrMalformedPacket
	default:
		fault = p.fault`,
			test: "TestConnect",
		},
		{
			name: "no MQTT 3.1 (3.1.2-2)", file: "bounds.go",
			on: `	c.MinimumProtocolVersion = 4
`,
			off:  "",
			test: "TestConnect",
		},
		{
			name: "E0 01 04 is a disconnect with will (3.14.4-3)", file: "access.go",
			on: `			pk.ReasonCode = packets.CodeDisconnectWillMessage.Code
`,
			off:  "",
			test: "TestADisconnectWithWill",
		},
		{
			name: "a page from anywhere opens no WebSocket", file: "websocket.go",
			on:   "\t\tif why := misplaced(r, origins); why != \"\" {",
			off:  "\t\tif why := misplaced(r, origins); why != \"\" && false {",
			test: "TestWhoMayOpenAWebSocket",
		},
		{
			name: "a SUBSCRIBE that ends early never reaches mochi", file: "malformed.go",
			on: `	case p.short:
		return 0, false, packets.ErrMalformedPacket
`,
			off:  "",
			test: "TestASubscribeThatEndsEarlyIsNoPanic",
		},
		{
			name: "a client of 3.1.1 is sent no DISCONNECT", file: "takeover.go",
			on:   "\tif older.Properties.ProtocolVersion == 5 && !old.over() {",
			off:  "\tif !old.over() {",
			test: "TestATakeoverSaysNothingToMQTT3",
		},

		// Sessions and flow
		{
			name: "Receive Maximum is kept, and nothing stalls", file: "access.go",
			on: `	c.flow.takeOver(cl)
`,
			off:  "",
			test: "TestReceiveMaximumIsKept",
		},
		{
			name: "a session that expired leaves no subscription", file: "crash.go",
			on: `	s.mqtt.UnsubscribeClient(cl)
`,
			off:  "",
			test: "TestSessionsEnd",
		},
		{
			name: "a session that expires leaves its client alone", file: "expiry.go",
			on: `	s.takeover.whileFree(cl.ID, func() {
		if known`,
			off: `	func(_ string, do func()) { do() }(cl.ID, func() {
		if known`,
			test: "TestASessionThatEndsLeavesItsClientAlone",
		},
		{
			name: "no session lasts longer than the server says", file: "expiry.go",
			on: `	*is = min(wanted, s.longestExpiry())
`,
			off: `	*is = wanted
`,
			test: "TestSessionsEnd",
		},
		{
			name: "what waits for a client comes in order", file: "resume.go",
			on: `	order(r.owed, place, uint16(next))
`,
			off: `	_, _ = next, place
`,
			test: "TestWhatWaitedComesInOrder",
		},
		{
			name: "a packet id in flight does not refuse a SUBSCRIBE", file: "subscribe.go",
			on: `	c.subscribe, pk.PacketID = pk.PacketID, 0
`,
			off: `	c.subscribe = pk.PacketID
`,
			test: "TestSubscribeIsGrantedWhileItsPacketIDIsInFlight",
		},

		// What was found since
		{
			name: "what a client is owed of the replay is bounded", file: "subscribe.go",
			on:   "\t\t\tif c.replay.add(w) {",
			off:  "\t\t\tif c.replay.add(w) && false {",
			test: "TestWhatIsOwedIsBounded",
		},
		{
			name: "what waits for a client is bounded in bytes", file: "backlog.go",
			on: `	if bytes > most {
`,
			off: `	if bytes < 0 {
`,
			test: "TestWhatWaitsForAClientIsBounded",
		},
		{
			name: "sessions of an account are bounded", file: "crash.go",
			on: `	defer s.boundSessions(c)
`,
			off:  "",
			test: "TestSessionsOfAnAccountAreBounded",
		},
		{
			name: "what an account retains is bounded", file: "quota.go",
			on: `		return "one account may retain no more than " + most + ": empty some of them"
`,
			off: `		_ = most
`,
			test: "TestAnAccountRetainsOnlySoMuch",
		},
		{
			name: "a client's subscriptions are bounded", file: "subscribe.go",
			on: `		case has >= s.opt.MaxSubscriptions:
`,
			off: `		case false:
`,
			test: "TestAClientHasOnlySoManySubscriptions",
		},
		{
			name: "a packet that is announced and does not come is not held", file: "gather.go",
			on:   "\tif missing <= largePacket {",
			off:  "\tif missing >= 0 {",
			test: "TestALargePacketThatDoesNotComeCostsNothing",
		},
		{
			name: "a password is guessed slowly", file: "guesses.go",
			on: `	if turn > longestTurn {
		return 0, false
	}
`,
			off:  "",
			test: "TestManyGuessesAtOnce",
		},
	}
}
