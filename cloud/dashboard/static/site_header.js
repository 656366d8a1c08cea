// The header: where am I, where can I go, is what I see live.
import { ageText } from "sightline-ui";

const LATE_MS = 4000;

export default {
  props: {
    site: String, current: String, pages: Array, counts: Object, user: String, role: String,
    can_sign_out: Boolean, beat: Number, problem: String,
  },
  data: () => ({ now: Date.now(), beatAt: Date.now(), connected: true, dark: false }),
  watch: { beat() { this.beatAt = Date.now(); } },
  mounted() {
    this.dark = document.body.classList.contains("body--dark");
    this.timer = setInterval(() => {
      this.now = Date.now();
      this.connected = window.socket ? window.socket.connected : true;
      this.dark = document.body.classList.contains("body--dark");
    }, 1000);
  },
  unmounted() { clearInterval(this.timer); },
  computed: {
    link() {
      const late = this.now - this.beatAt;
      if (!this.connected) return { cls: "sl-link-state--lost", text: "Not connected", title: "The server does not answer. What you see is old; it comes back by itself." };
      if (this.problem) return { cls: "sl-link-state--lost", text: "No data", title: this.problem };
      if (late > LATE_MS) return { cls: "sl-link-state--late", text: `Data ${ageText(late / 1000)} old`, title: "The server answers late." };
      return { cls: "", text: "Live", title: "What you see is up to date." };
    },
  },
  methods: {
    async signOut() {
      await fetch("/v1/sessions", { method: "DELETE" }).catch(() => null);
      window.location.assign("/login");
    },
    toggle() {
      this.dark = !this.dark;
      window.Quasar.Dark.set(this.dark);
      document.cookie = `sightline_theme=${this.dark ? "dark" : "light"}; path=/; max-age=31536000; samesite=lax`;
      this.$emit("theme", this.dark);
    },
  },
  template: `
    <header class="sl-header">
      <a class="sl-brand" href="/" aria-label="Sightline, Line page">
        <svg class="sl-brand__mark" viewBox="0 0 32 32" aria-hidden="true">
          <path d="M3 9.500V5.500A2.500 2.500 0 0 1 5.500 3h4M22.500 3h4A2.500 2.500 0 0 1 29 5.500v4M29 22.500v4a2.500 2.500 0 0 1-2.500 2.500h-4M9.500 29h-4A2.500 2.500 0 0 1 3 26.500v-4" fill="none" stroke="#9fb3c5" stroke-width="2.400" stroke-linecap="round"/>
          <path d="m9 16.600 5 5.200L23.500 10.800" fill="none" stroke="#5ed094" stroke-width="3.400" stroke-linecap="round" stroke-linejoin="round"/>
        </svg>
        <span class="sl-brand__name">Sightline</span>
        <span v-if="site" class="sl-brand__site">{{ site }}</span>
      </a>
      <nav class="sl-nav" aria-label="Pages">
        <a v-for="page in pages" :key="page.path" :href="page.path" :aria-current="page.path === current ? 'page' : null">
          {{ page.title }}<span v-if="counts && counts[page.path]" class="sl-nav__count" :title="page.count_title">{{ counts[page.path] }}</span>
        </a>
      </nav>
      <div class="sl-header__right">
        <span class="sl-link-state" :class="link.cls" :title="link.title" role="status"><i></i>{{ link.text }}</span>
        <button class="sl-icon-button" @click="toggle" :title="dark ? 'Light theme' : 'Dark theme'" :aria-label="dark ? 'Switch to the light theme' : 'Switch to the dark theme'">
          <svg width="20" height="20" viewBox="0 0 24 24" fill="currentColor" aria-hidden="true">
            <path v-if="dark" d="M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10ZM11 1h2v4h-2Zm0 18h2v4h-2ZM1 11h4v2H1Zm18 0h4v2h-4ZM4.900 3.500l2.800 2.800-1.400 1.400-2.800-2.800Zm12.800 12.800 2.800 2.800-1.400 1.400-2.800-2.800Zm1.400-12.800 1.400 1.400-2.800 2.800-1.400-1.400ZM6.300 16.300l1.400 1.400-2.800 2.800-1.400-1.400Z"/>
            <path v-else d="M12 3a9 9 0 1 0 9 9c0-.5 0-.900-.100-1.400A5.500 5.500 0 0 1 13.400 3.100C12.900 3 12.500 3 12 3Z"/>
          </svg>
        </button>
        <span class="sl-user"><a v-if="can_sign_out" class="sl-user__name" href="/account" title="Your password and tokens">{{ user }}</a><b v-else>{{ user }}</b><span v-if="role">{{ role }}</span><button v-if="can_sign_out" class="sl-link" @click="signOut">Sign out</button></span>
      </div>
    </header>`,
};
