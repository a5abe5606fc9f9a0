// How a page finds the run of its fleet: the rules of edge/messaging/joining.py and greeter.py.
import { greeting } from "./wire/request.mjs";

const YOUNG = 3, STEPS = 8, QUESTION = 2000, ANSWER = 1000;

export class Greeter {
  constructor(mailbox, position) {
    Object.assign(this, { mailbox, position, run: 0, session: crypto.getRandomValues(new Uint8Array(8)), quiet: new Map() });
  }

  // Wait until the neighbours have named a run, or name one.
  async join(patience) {
    const start = performance.now(), end = start + patience * (1 + Math.min(this.position, STEPS) / STEPS);
    let voted = end, question = start;
    while (!this.run) {
      const now = performance.now(), all = [...this.mailbox.neighbours.values()];
      const silent = all.filter(({ run }) => run === undefined), votes = this.votes();
      if (votes.size) voted = Math.min(voted, now + QUESTION);
      if (votes.size && (now >= voted || !silent.length)) this.run = mostNamed(votes);
      else if (!votes.size && (now >= end || (this.position === 0 && !silent.length))) this.run = drawn();
      if (this.run) break;
      if (now >= question) {
        question = now + QUESTION;
        all.filter(({ run }) => !run).forEach((neighbour) => this.greet(neighbour, true));
      }
      await this.mailbox.changed(Math.min(question, voted, end));
    }
    this.announce();
  }

  greet(neighbour, asks) {
    const words = { run: this.run, round: this.mailbox.round, session: this.session, answers: neighbour.session, asks };
    this.mailbox.publish(neighbour, "again", greeting(words));
  }

  announce() {
    for (const neighbour of this.mailbox.neighbours.values()) this.greet(neighbour, false);
  }

  // Which run a neighbour is in that has sent something of another one.
  ask(neighbour) {
    if (this.may(neighbour, true, QUESTION)) this.greet(neighbour, true);
  }

  take(neighbour, words) {
    neighbour.session = words.session;
    if (words.answers.every((byte, i) => byte === this.session[i])) {
      neighbour.run = words.run;
      this.compare(neighbour, words);
    }
    const unknown = this.run === 0 && neighbour.run === undefined;
    if (words.asks && this.may(neighbour, false, ANSWER)) this.greet(neighbour, unknown);
  }

  // By how many neighbours each run is named.
  votes() {
    const votes = new Map();
    for (const { run } of this.mailbox.neighbours.values()) if (run) votes.set(run, (votes.get(run) ?? 0) + 1);
    return votes;
  }

  // Two runs that meet in their first rounds become one.
  compare(neighbour, { run, round, asks }) {
    if (!run || !this.run || run === this.run) return;
    const young = this.mailbox.round <= YOUNG, bothYoung = young && round <= YOUNG;
    const most = 2 * (this.votes().get(run) ?? 0) > this.mailbox.neighbours.size;
    if ((bothYoung && run < this.run) || (young && round > YOUNG && most)) {
      this.run = run;
      this.announce();
    } else if (bothYoung && !asks) this.greet(neighbour, false);
  }

  may(neighbour, asks, interval) {
    const now = performance.now(), key = `${asks} ${neighbour.name}`;
    if (now < (this.quiet.get(key) ?? now)) return false;
    this.quiet.set(key, now + interval);
    return true;
  }
}

// The run that most neighbours name; of several the smallest.
function mostNamed(votes) {
  const most = Math.max(...votes.values());
  return Math.min(...[...votes].filter(([, count]) => count === most).map(([run]) => run));
}

const drawn = () => crypto.getRandomValues(new Uint32Array(1))[0] || 1;
