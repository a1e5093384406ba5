// Status (base.py): the status line. It also tells the kernel the page's language.

// JupyterLab's language if the reader has set one other than English, else the browser's.
const pageLanguage = () => {
    const lab = document.documentElement.lang;
    return lab && !lab.startsWith('en') ? lab : navigator.language;
};

export default widgetPart('imkit-status', ({ model, el, saved, label, listen }) => {
    el.setAttribute('role', 'status');
    const show = () => {
        const isKernelGone = Boolean(el.closest('.jupyter-widgets-disconnected'));
        const hint = isKernelGone ? '' : model.get('hint');
        el.dataset.tone = isKernelGone ? 'gone' : model.get('tone');
        el.replaceChildren(
            element('span', { cls: 'imkit-status-text', text: isKernelGone ? label('form_gone') : model.get('text') }),
            ...(hint ? [element('span', { cls: 'imkit-status-hint', text: hint })] : []));
    };
    listen('change:text change:tone change:hint', show);
    // JupyterLab adds the CSS class to the form a moment after this event.
    listen('comm_live_update', () => setTimeout(show));
    show();
    // Only once on each page: two pages with different languages would change the form's language back and forth.
    if (!saved.sentLanguage) model.send({ language: pageLanguage() });
    saved.sentLanguage = true;
});
